//! Receives a download in a store: [`StoreSink`].

use std::io;

use akool_download::{DownloadError, Sink, Version};
use bytes::Bytes;
use object_store::{ObjectStoreExt as _, PutPayload, multipart::PartId, path::Path};
use sha2::{Digest, Sha256};

use crate::{
    error::StageError,
    stage::Stage,
    upload::{PART, Parts, UploadLog},
};

/// Receives the bytes of a file in an object. The object exists only once [`finish`](Self::finish) is called, and all of
/// it is there. At most one part of 8 MiB is in memory.
///
/// A download that breaks off is resumed as long as this exists. If it is dropped before [`finish`](Self::finish) or
/// [`abort`](Self::abort), the parts stay in the store until the upload is [aborted](Stage::abort).
///
/// ```no_run
/// # async fn example(stage: akool_stage::Stage, file: akool::RemoteFile) -> Result<(), Box<dyn std::error::Error>> {
/// use akool_download::Downloader;
/// use akool_stage::NoLog;
///
/// let mut sink = stage.sink(&stage.url_of(&file.file_name()), &NoLog)?;
/// Downloader::new()?.fetch(&file).write_to(&mut sink).await?;
/// let sha256 = sink.finish().await?;
/// # Ok(())
/// # }
/// ```
pub struct StoreSink<'a> {
    stage: &'a Stage,
    log: &'a dyn UploadLog,
    path: Path,
    url: String,
    upload: Option<Parts<'a>>,
    parts: Vec<PartId>,
    /// What is not uploaded yet.
    held: Vec<u8>,
    position: u64,
    version: Version,
    hash: Sha256,
}

impl Stage {
    /// Receives a file in the object with this URL, and replaces it if it exists.
    ///
    /// # Errors
    /// If the URL is in another bucket.
    pub fn sink<'a>(&'a self, url: &str, log: &'a dyn UploadLog) -> Result<StoreSink<'a>, StageError> {
        Ok(StoreSink {
            stage: self,
            log,
            path: self.path_of(url)?,
            url: url.to_owned(),
            upload: None,
            parts: Vec::new(),
            held: Vec::new(),
            position: 0,
            version: Version::default(),
            hash: Sha256::new(),
        })
    }
}

impl StoreSink<'_> {
    /// Makes the object from what has arrived. Returns its SHA-256.
    ///
    /// # Errors
    /// If the store fails. Nothing is left then.
    pub async fn finish(mut self) -> Result<[u8; 32], StageError> {
        let sha256 = self.hash.clone().finalize().into();
        if self.upload.is_none() {
            let put =
                self.stage.store.put(&self.path, PutPayload::from(std::mem::take(&mut self.held))).await;
            put.map_err(|error| StageError::store(format!("write {}", self.url), &error))?;
            return Ok(sha256);
        }
        if !self.held.is_empty()
            && let Err(error) = self.put().await
        {
            let _ = self.abort().await;
            return Err(error);
        }
        if let Some(upload) = self.upload.take() {
            upload.complete(self.parts).await?;
        }
        Ok(sha256)
    }

    /// Removes what was uploaded.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn abort(mut self) -> Result<(), StageError> {
        self.discard().await
    }

    async fn discard(&mut self) -> Result<(), StageError> {
        self.parts.clear();
        self.held.clear();
        self.position = 0;
        self.hash = Sha256::new();
        match self.upload.take() {
            Some(upload) => upload.abort().await,
            None => Ok(()),
        }
    }

    /// Uploads what is held as a part.
    async fn put(&mut self) -> Result<(), StageError> {
        if self.upload.is_none() {
            self.upload = Some(Parts::begin(self.stage, self.path.clone(), self.log).await?);
        }
        if let Some(upload) = &self.upload {
            let bytes = Bytes::from(std::mem::take(&mut self.held));
            self.parts.push(upload.put(self.parts.len(), bytes).await?);
        }
        Ok(())
    }

    fn failed(&self) -> impl FnOnce(StageError) -> DownloadError {
        let path = self.url.as_str().into();
        |error| DownloadError::Io { path, source: io::Error::other(error) }
    }
}

impl Sink for StoreSink<'_> {
    fn position(&self) -> u64 {
        self.position
    }

    fn version(&self) -> &Version {
        &self.version
    }

    async fn restart(&mut self, version: Version) -> Result<(), DownloadError> {
        let discarded = self.discard().await;
        self.version = version;
        discarded.map_err(self.failed())
    }

    async fn write(&mut self, mut chunk: Bytes) -> Result<(), DownloadError> {
        self.hash.update(&chunk);
        self.position += chunk.len() as u64;
        while self.held.len() + chunk.len() > PART as usize {
            let room = PART as usize - self.held.len();
            self.held.extend_from_slice(&chunk.split_to(room));
            self.put().await.map_err(self.failed())?;
        }
        self.held.extend_from_slice(&chunk);
        Ok(())
    }

    /// What is held stays in memory: an object cannot be resumed by another process.
    async fn flush(&mut self) -> Result<(), DownloadError> {
        Ok(())
    }

    async fn sha256(&mut self) -> Result<[u8; 32], DownloadError> {
        Ok(self.hash.clone().finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upload::NoLog;

    #[tokio::test]
    async fn an_object_exists_only_once_all_of_it_is_there() {
        let (stage, store) = Stage::in_memory("s3://bucket/results");
        for bytes in [0, 1, PART, PART + 1, 3 * PART] {
            let url = stage.url_of("talk.es.mp4");
            let path = stage.path_of(&url).unwrap();
            let contents: Bytes = (0..bytes).map(|at| (at / 999) as u8).collect();
            let mut sink = stage.sink(&url, &NoLog).unwrap();
            sink.write(Bytes::from_static(b"an older version")).await.unwrap();
            sink.restart(Version::default()).await.unwrap();
            for chunk in contents.chunks(1_000_003) {
                sink.write(Bytes::copy_from_slice(chunk)).await.unwrap();
            }
            assert_eq!(sink.position(), bytes);
            assert!(store.head(&path).await.is_err());
            let expected: [u8; 32] = Sha256::digest(&contents).into();
            assert_eq!(sink.sha256().await.unwrap(), expected);
            assert_eq!(sink.finish().await.unwrap(), expected);
            assert!(store.get(&path).await.unwrap().bytes().await.unwrap() == contents, "{bytes}");
            stage.remove(&url).await.unwrap();
        }
    }

    #[tokio::test]
    async fn what_is_aborted_leaves_nothing() {
        let (stage, store) = Stage::in_memory("s3://bucket");
        let url = stage.url_of("a.mp4");
        let mut sink = stage.sink(&url, &NoLog).unwrap();
        sink.write(Bytes::from(vec![7; 3 * PART as usize])).await.unwrap();
        let id = sink.upload.as_ref().unwrap().id().to_owned();
        sink.abort().await.unwrap();
        assert!(store.head(&stage.path_of(&url).unwrap()).await.is_err());
        let path = stage.path_of(&url).unwrap();
        stage.parts.put_part(&path, &id, 0, PutPayload::from("x")).await.unwrap_err();
        assert!(stage.sink("s3://other/a.mp4", &NoLog).is_err());
    }
}
