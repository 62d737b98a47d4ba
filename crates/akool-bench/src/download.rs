//! The row `download`: files to the disk over HTTP/1.1 and HTTP/2, against curl followed by `sync`.

use std::{fmt::Write as _, fs, path::Path, process::Command};

use akool::{FileKind, RemoteFile};
use akool_download::Downloader;
use anyhow::Result;

use crate::{
    file_server::FileServer,
    paths::target,
    process::{alternate, each, run as sample},
    row::{Plot, Row},
};

/// The size of the large file, in bytes.
const SIZE: u64 = 1 << 30;
/// How many files are downloaded at a time.
const CONCURRENT: usize = 8;
/// The versions of HTTP, and curl's options for them.
const VERSIONS: [(&str, &str); 2] = [("HTTP/1.1", "--http1.1"), ("HTTP/2", "--http2")];

/// Downloads one URL so many times into a folder; runs as a process of its own.
pub(crate) fn probe(url: &str, certificate: &Path, version: &str, folder: &Path, files: usize) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let trusted = reqwest::Certificate::from_pem(&fs::read(certificate)?)?;
        let mut http = reqwest::Client::builder().tls_certs_only([trusted]);
        if version == VERSIONS[0].0 {
            http = http.http1_only();
        }
        let downloader = Downloader::builder().http(http).max_concurrent_files(CONCURRENT).build()?;
        let saves = (0..files).map(async |number| {
            let file = RemoteFile::new(number.to_string().into(), FileKind::Video, url.parse()?);
            let saved = downloader.save(&file, folder).await?;
            anyhow::ensure!(!saved.kept, "{saved:?}");
            Ok::<_, anyhow::Error>(())
        });
        futures_util::future::try_join_all(saves).await?;
        Ok(())
    })
}

/// Deletes a folder's files, and waits until the disk has done so.
fn clear(folder: &Path) -> Result<()> {
    for file in fs::read_dir(folder)? {
        fs::remove_file(file?.path())?;
    }
    Command::new("sync").status()?;
    Ok(())
}

pub(crate) fn run(quick: bool) -> Result<Row> {
    let (times, size) = if quick { (1, SIZE / 16) } else { (5, SIZE) };
    let mut row = Row::new(
        "download",
        "Files over loopback and TLS to the disk, durably: the library against `curl` (`curl --parallel` for several \
         files) followed by `sync FILES`. One file of 1 GiB; eight files of 128 MiB, and 1,000 files of 16 KiB, eight \
         at a time. The server is nginx.",
    );
    let folder = tempfile::Builder::new().prefix("akool-bench").tempdir_in(target()?)?;
    let server = FileServer::start(folder.path())?;
    let out = folder.path().join("out");
    fs::create_dir(&out)?;
    let me = std::env::current_exe()?;
    let mut memory = 0.0_f64;
    for (version, option) in VERSIONS {
        let mut peak_of_large = 0.0;
        for (case, files, bytes) in [
            ("1 file", 1, size),
            ("8 files", 8, size / 8),
            ("1,000 small files", if quick { 100 } else { 1000 }, 16 << 10),
            ("1 file of a sixteenth", 1, size / 16),
        ] {
            let url = server.file(bytes)?;
            let certificate = server.certificate();
            let ours = || {
                clear(&out)?;
                let mut command = Command::new(&me);
                command.args(["probe-download", &url]).arg(&certificate).arg(version).arg(&out);
                sample(command.arg(files.to_string()))
            };
            let mut transfers = String::new();
            for number in 0..files {
                writeln!(transfers, "url = {url}\noutput = {number}.mp4")?;
            }
            let list = folder.path().join("curl.txt");
            fs::write(&list, transfers)?;
            let theirs = || {
                clear(&out)?;
                let script = format!(
                    "curl -sS --parallel --parallel-max {CONCURRENT} {option} --cacert '{}' -K '{}' && sync *.mp4",
                    certificate.display(),
                    list.display()
                );
                sample(Command::new("sh").current_dir(&out).args(["-c", &script]))
            };
            let [ours, theirs] = alternate(times, [&ours, &theirs])?;
            let case = format!("{case}, {version}");
            let mib = (bytes * files) as f64 / f64::from(1 << 20);
            let mut add = |variant: &str, usages: &[_]| {
                row.add_cpu(&case, variant, usages);
                let peak = row.add_memory(&case, variant, usages);
                let rates = each(usages, |usage| mib / usage.seconds);
                (row.add(&case, variant, "throughput", "MiB/s", &rates), peak)
            };
            let (a, peak) = add("akool", &ours);
            let (b, _) = add("curl and sync", &theirs);
            match (files, bytes == size) {
                (1, true) => peak_of_large = peak,
                (1, false) => {
                    memory = memory.max(peak_of_large / peak);
                    continue;
                }
                _ => {}
            }
            row.at_least(&format!("{case}: throughput / curl's"), a / b, 1.1);
        }
    }
    row.at_most("1 file: memory / that for a file of a sixteenth of the size", memory, 1.1);
    row.note(
        "Each download starts with an empty folder in the workspace's target folder, and a synced disk.",
    );
    row.note("The library computes a SHA-256 only if the server sends a checksum. This server does not send one, and curl never computes one.");
    row.note("The library waits until each file and its name are on the disk before it reports it: twice for each file, 2,000 times for the small ones (`strace`), and on threads, since the calls block. curl's files are synced together by one `sync` at the end. For small files, that is most of its work.");
    row.plot = Some(Plot::Ratios("curl and sync".to_owned()));
    Ok(row)
}
