//! Uploads a file in parts: [`Stage::upload`].

use std::{
    error::Error as StdError,
    fs::File,
    io::{self, Read},
};

use bytes::Bytes;
use futures_util::{FutureExt, TryStreamExt, future::BoxFuture, stream::FuturesUnordered};
use object_store::{
    Error as StoreError, ObjectStoreExt as _, PutPayload, multipart::PartId, path::Path as ObjectPath,
};
use sha2::{Digest, Sha256};

use crate::{error::StageError, file::LocalFile, stage::Stage};

/// The size of a part in bytes. Stores require at least 5 MiB.
pub(crate) const PART: u64 = 8 * 1024 * 1024;
/// The highest number of parts that a store allows.
const MAX_PARTS: u64 = 10_000;
/// How many parts are uploaded at a time. So many are in memory.
const CONCURRENT_PARTS: usize = 4;

/// Why an upload could not be recorded.
pub type LogError = Box<dyn StdError + Send + Sync>;
/// The result of recording an upload.
pub type LogResult<'a> = BoxFuture<'a, Result<(), LogError>>;

/// Remembers uploads in parts, so that one that is not ended, because the process was killed, can be
/// [aborted](Stage::abort) later: the store keeps its parts, and charges for them.
///
/// ```
/// use akool_stage::{LogResult, UploadLog};
///
/// /// Prints what an operator needs to abort the upload by hand.
/// struct Print;
///
/// impl UploadLog for Print {
///     fn begin<'a>(&'a self, url: &'a str, upload: &'a str) -> LogResult<'a> {
///         Box::pin(async move {
///             println!("upload {upload} to {url} begins");
///             Ok(())
///         })
///     }
///
///     fn end<'a>(&'a self, _: &'a str, upload: &'a str) -> LogResult<'a> {
///         Box::pin(async move {
///             println!("upload {upload} has ended");
///             Ok(())
///         })
///     }
/// }
/// ```
pub trait UploadLog: Send + Sync {
    /// An upload has begun. No part is uploaded before this is recorded.
    fn begin<'a>(&'a self, url: &'a str, upload: &'a str) -> LogResult<'a>;

    /// The upload was completed or aborted.
    fn end<'a>(&'a self, url: &'a str, upload: &'a str) -> LogResult<'a>;
}

/// Remembers nothing: for a bucket whose rules abort incomplete uploads.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoLog;

impl UploadLog for NoLog {
    fn begin<'a>(&'a self, _: &'a str, _: &'a str) -> LogResult<'a> {
        async { Ok(()) }.boxed()
    }

    fn end<'a>(&'a self, _: &'a str, _: &'a str) -> LogResult<'a> {
        async { Ok(()) }.boxed()
    }
}

impl Stage {
    /// Uploads a file to [its object](Stage::url), which exists only once all of it is there. In bounded memory: four
    /// parts of 8 MiB, or larger ones if the file has more than 80 GB. `on_progress` is called with the number of bytes
    /// that have been uploaded.
    ///
    /// # Errors
    /// If the file cannot be read or has changed, the store fails, or the upload cannot be recorded. The upload is then
    /// aborted.
    pub async fn upload(
        &self,
        file: &LocalFile,
        log: &impl UploadLog,
        on_progress: impl Fn(u64),
    ) -> Result<(), StageError> {
        let (path, url) = (self.path(file), self.url(file));
        self.check_signable(&path)?;
        let mut reader = Reader::open(file)?;
        if file.bytes <= PART {
            let (bytes, reader) = reader.next(file.bytes).await?;
            reader.check()?;
            let put = self.store.put(&path, PutPayload::from(bytes)).await;
            put.map_err(|error| StageError::store(format!("upload {url}"), &error))?;
            on_progress(file.bytes);
            return Ok(());
        }
        let upload = Parts::begin(self, path, log).await?;
        let size = part_size(file.bytes);
        let mut uploading = FuturesUnordered::new();
        let mut parts = Vec::new();
        let (mut read, mut sent) = (0, 0);
        let sending = async {
            while read < file.bytes || !uploading.is_empty() {
                while read < file.bytes && uploading.len() < CONCURRENT_PARTS {
                    let (bytes, rest) = reader.next(size.min(file.bytes - read)).await?;
                    reader = rest;
                    let (index, length) = (parts.len(), bytes.len() as u64);
                    read += length;
                    parts.push(None);
                    let put = upload.put(index, bytes);
                    uploading.push(async move { Ok::<_, StageError>((index, length, put.await?)) });
                }
                if let Some((index, length, part)) = uploading.try_next().await? {
                    parts[index] = Some(part);
                    sent += length;
                    on_progress(sent);
                }
            }
            reader.check()
        };
        let sent = sending.await;
        drop(uploading);
        match sent {
            Ok(()) => upload.complete(parts.into_iter().flatten().collect()).await,
            Err(error) => {
                // The first error says more.
                let _ = upload.abort().await;
                Err(error)
            }
        }
    }

    /// Aborts an upload in parts that another process has begun and not ended. One that the store does not know is no
    /// error. Azure has no such request: it removes parts after a week.
    ///
    /// # Errors
    /// If the store does not answer, or does not allow it.
    pub async fn abort(&self, url: &str, upload: &str) -> Result<(), StageError> {
        match self.parts.abort_multipart(&self.path_of(url)?, &upload.to_owned()).await {
            Ok(()) | Err(StoreError::NotFound { .. }) => Ok(()),
            Err(error) if error.to_string().contains("NoSuchUpload") => Ok(()),
            Err(error) => Err(StageError::store(format!("abort an upload to {url}"), &error)),
        }
    }
}

fn part_size(bytes: u64) -> u64 {
    // In whole mebibytes, because some stores want parts of one size.
    const MIB: u64 = 1024 * 1024;
    bytes.div_ceil(MAX_PARTS).next_multiple_of(MIB).max(PART)
}

/// An upload in parts.
pub(crate) struct Parts<'a> {
    stage: &'a Stage,
    log: &'a dyn UploadLog,
    path: ObjectPath,
    url: String,
    id: String,
}

impl<'a> Parts<'a> {
    pub(crate) async fn begin(
        stage: &'a Stage,
        path: ObjectPath,
        log: &'a dyn UploadLog,
    ) -> Result<Self, StageError> {
        let url = stage.location().url(&path);
        let created = stage.parts.create_multipart(&path).await;
        let id = created.map_err(|error| StageError::store(format!("upload {url}"), &error))?;
        let parts = Self { stage, log, path, url, id };
        if let Err(source) = log.begin(&parts.url, &parts.id).await {
            let _ = stage.parts.abort_multipart(&parts.path, &parts.id).await;
            return Err(StageError::Log { url: parts.url, source });
        }
        Ok(parts)
    }

    #[cfg(test)]
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Uploads a part.
    pub(crate) async fn put(&self, index: usize, bytes: Bytes) -> Result<PartId, StageError> {
        let put = self.stage.parts.put_part(&self.path, &self.id, index, PutPayload::from(bytes)).await;
        put.map_err(|error| StageError::store(format!("upload {}", self.url), &error))
    }

    pub(crate) async fn complete(self, parts: Vec<PartId>) -> Result<(), StageError> {
        let done = self.stage.parts.complete_multipart(&self.path, &self.id, parts).await;
        match done {
            Ok(_) => self.ended().await,
            Err(error) => {
                let error = StageError::store(format!("upload {}", self.url), &error);
                let _ = self.abort().await;
                Err(error)
            }
        }
    }

    pub(crate) async fn abort(self) -> Result<(), StageError> {
        self.stage.abort(&self.url, &self.id).await?;
        self.ended().await
    }

    async fn ended(&self) -> Result<(), StageError> {
        let url = self.url.clone();
        self.log.end(&self.url, &self.id).await.map_err(|source| StageError::Log { url, source })
    }
}

/// Reads a file part by part on other threads, and hashes it, so that what is uploaded is what was identified.
struct Reader {
    file: LocalFile,
    open: File,
    hash: Sha256,
}

impl Reader {
    fn open(file: &LocalFile) -> Result<Self, StageError> {
        let failed = |source| StageError::File { path: file.path.clone(), source };
        Ok(Self { open: File::open(&file.path).map_err(failed)?, hash: Sha256::new(), file: file.clone() })
    }

    /// The next bytes.
    async fn next(mut self, length: u64) -> Result<(Bytes, Self), StageError> {
        let read = tokio::task::spawn_blocking(move || {
            let mut bytes = Vec::new();
            let read = self.open.by_ref().take(length).read_to_end(&mut bytes);
            if let Err(source) = read {
                return Err(StageError::File { path: self.file.path, source });
            }
            if bytes.len() as u64 != length {
                return Err(StageError::Changed { path: self.file.path });
            }
            self.hash.update(&bytes);
            Ok((Bytes::from(bytes), self))
        });
        read.await.unwrap_or_else(|error| {
            Err(StageError::File { path: Default::default(), source: io::Error::other(error) })
        })
    }

    /// # Errors
    /// If the bytes that were read are not the file that was identified.
    fn check(&self) -> Result<(), StageError> {
        let sha256: [u8; 32] = self.hash.clone().finalize().into();
        if sha256 == self.file.sha256 {
            return Ok(());
        }
        Err(StageError::Changed { path: self.file.path.clone() })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, atomic::AtomicU64, atomic::Ordering};

    use super::*;

    /// Remembers the uploads that have not ended.
    #[derive(Default)]
    struct Log {
        open: Mutex<Vec<(String, String)>>,
        begun: AtomicU64,
    }

    impl UploadLog for Log {
        fn begin<'a>(&'a self, url: &'a str, upload: &'a str) -> LogResult<'a> {
            self.begun.fetch_add(1, Ordering::Relaxed);
            self.open.lock().unwrap().push((url.to_owned(), upload.to_owned()));
            async { Ok(()) }.boxed()
        }

        fn end<'a>(&'a self, url: &'a str, upload: &'a str) -> LogResult<'a> {
            self.open.lock().unwrap().retain(|(known, id)| (known.as_str(), id.as_str()) != (url, upload));
            async { Ok(()) }.boxed()
        }
    }

    fn file(folder: &tempfile::TempDir, name: &str, bytes: usize) -> LocalFile {
        let path = folder.path().join(name);
        let contents: Vec<u8> = (0..bytes).map(|at| (at / 1000) as u8).collect();
        std::fs::write(&path, contents).unwrap();
        LocalFile::read(path).unwrap()
    }

    #[tokio::test]
    async fn a_file_of_any_length_arrives() {
        let folder = tempfile::tempdir().unwrap();
        let (stage, store) = Stage::in_memory("s3://bucket/a");
        let part = PART as usize;
        for (bytes, in_parts) in [(1, 0), (part, 0), (part + 1, 1), (2 * part, 1), (5 * part + 17, 1)] {
            let log = Log::default();
            let file = file(&folder, "100% ünï.mp4", bytes);
            let last = AtomicU64::new(0);
            stage.upload(&file, &log, |now| assert!(last.swap(now, Ordering::Relaxed) < now)).await.unwrap();
            assert_eq!(last.into_inner(), bytes as u64);
            let found = store.get(&stage.path(&file)).await.unwrap().bytes().await.unwrap();
            assert!(found == std::fs::read(&file.path).unwrap(), "{bytes}");
            assert_eq!((log.begun.into_inner(), log.open.into_inner().unwrap()), (in_parts, vec![]));
            assert_eq!(stage.length(&stage.url(&file)).await.unwrap(), Some(bytes as u64));
            stage.remove(&stage.url(&file)).await.unwrap();
            stage.remove(&stage.url(&file)).await.unwrap();
            assert_eq!(stage.length(&stage.url(&file)).await.unwrap(), None);
        }
    }

    #[tokio::test]
    async fn a_file_that_changes_is_not_uploaded_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let (stage, store) = Stage::in_memory("s3://bucket");
        for bytes in [100, PART as usize * 2] {
            for change in ["shorter", "other"] {
                let (log, file) = (Log::default(), file(&folder, "talk.mp4", bytes));
                let mut contents = std::fs::read(&file.path).unwrap();
                match change {
                    "shorter" => contents.truncate(bytes - 1),
                    _ => contents[bytes - 1] ^= 1,
                }
                std::fs::write(&file.path, contents).unwrap();
                let error = stage.upload(&file, &log, |_| {}).await.unwrap_err();
                assert!(matches!(error, StageError::Changed { .. }), "{error}");
                assert_eq!(log.open.into_inner().unwrap(), []);
                assert!(store.head(&stage.path(&file)).await.is_err());
            }
        }
    }

    #[tokio::test]
    async fn an_upload_that_cannot_be_recorded_is_aborted() {
        struct Full(Mutex<String>);
        impl UploadLog for Full {
            fn begin<'a>(&'a self, _: &'a str, upload: &'a str) -> LogResult<'a> {
                *self.0.lock().unwrap() = upload.to_owned();
                async { Err("the disk is full".into()) }.boxed()
            }

            fn end<'a>(&'a self, _: &'a str, _: &'a str) -> LogResult<'a> {
                async { Ok(()) }.boxed()
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let (stage, _) = Stage::in_memory("s3://bucket");
        let log = Full(Mutex::default());
        let file = file(&folder, "talk.mp4", PART as usize + 1);
        let error = stage.upload(&file, &log, |_| {}).await.unwrap_err();
        assert!(matches!(error, StageError::Log { .. }) && error.is_general(), "{error}");
        // The store does not know it any more.
        let id = log.0.into_inner().unwrap();
        stage.parts.put_part(&stage.path(&file), &id, 0, PutPayload::from("x")).await.unwrap_err();
    }

    #[test]
    fn parts_are_so_large_that_there_are_not_too_many() {
        for bytes in [1, PART, PART * MAX_PARTS, PART * MAX_PARTS + 1, 5 << 40] {
            let size = part_size(bytes);
            assert!(
                size >= PART && bytes.div_ceil(size) <= MAX_PARTS && size.is_multiple_of(1024 * 1024),
                "{bytes}"
            );
        }
        assert_eq!(part_size(5 << 30), PART);
    }
}
