//! The row `download`: large files to the disk, against curl followed by `sync`.

use std::{path::Path, process::Command};

use anyhow::{Context, Result};

use crate::{
    by_hand,
    paths::target,
    process::{alternate, each, run as sample},
    row::{Plot, Row},
    server::Server,
};

/// The size of the large file, in bytes.
const SIZE: u64 = 1 << 30;

/// Downloads so many files at once into a folder; runs as a process of its own.
pub(crate) fn probe(url: &str, folder: &str, files: usize, bytes: u64) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = by_hand::library(url)?;
        let downloader = akool_download::Downloader::builder().max_concurrent_files(files).build()?;
        let saves = (0..files).map(async |number| {
            // An id of a job that ended long ago, with the size of its file: see `server.rs`.
            let snapshot = client.job(format!("{}-{bytes}-{number}", 1)).get().await?;
            let translation = akool::Translation::from_snapshot(snapshot).context("not completed")?;
            let video = translation.files().into_iter().next().context("no video")?;
            let saved = downloader.save(&video, folder).await?;
            anyhow::ensure!(saved.bytes == bytes && !saved.kept, "{saved:?}");
            Ok::<_, anyhow::Error>(())
        });
        futures_util::future::try_join_all(saves).await?;
        Ok(())
    })
}

/// Deletes a folder's files, and waits until the disk has done so.
fn clear(folder: &Path) -> Result<()> {
    for file in std::fs::read_dir(folder)? {
        std::fs::remove_file(file?.path())?;
    }
    Command::new("sync").status()?;
    Ok(())
}

pub(crate) fn run(quick: bool) -> Result<Row> {
    let (times, size) = if quick { (2, SIZE / 8) } else { (7, SIZE) };
    let mut row = Row::new(
        "download",
        "Files over loopback to the disk, durably: the library against `curl` followed by `sync FILE`. One file of \
         1 GiB, and eight files of 128 MiB at once.",
    );
    let server = Server::start()?;
    let folder = tempfile::Builder::new().prefix("akool-bench").tempdir_in(target()?)?;
    let me = std::env::current_exe()?;
    let mut ratios = Vec::new();
    let mut peaks = Vec::new();
    for (case, files, bytes) in
        [("1 file", 1, size), ("8 files at once", 8, size / 8), ("1 small file", 1, size / 16)]
    {
        let ours = || {
            clear(folder.path())?;
            let mut command = Command::new(&me);
            command.args(["probe-download", &server.url]).arg(folder.path());
            sample(command.args([files.to_string(), bytes.to_string()]))
        };
        let theirs = || {
            clear(folder.path())?;
            let each = (0..files).map(|number| {
                let path = folder.path().join(number.to_string());
                let path = path.display();
                format!("(curl -sS -o '{path}' '{}/file/{bytes}/x' && sync '{path}') & ", server.url)
            });
            sample(Command::new("sh").arg("-c").arg(each.collect::<String>() + "wait"))
        };
        let [ours, theirs] = alternate(times, [&ours, &theirs])?;
        let mib = (bytes * files) as f64 / f64::from(1 << 20);
        let mut add = |variant: &str, usages: &[_]| {
            row.add(case, variant, "CPU", "s", &each(usages, |usage| usage.cpu_seconds));
            let peak = row.add(case, variant, "peak memory", "MiB", &each(usages, |usage| usage.peak_mib));
            (row.add(case, variant, "throughput", "MiB/s", &each(usages, |usage| mib / usage.seconds)), peak)
        };
        let (a, peak) = add("akool", &ours);
        let (b, _) = add("curl and sync", &theirs);
        ratios.push(a / b);
        peaks.push(peak);
    }
    clear(folder.path())?;
    row.at_least("1 file: throughput / curl's", ratios[0], 0.95);
    row.at_least("8 files at once: throughput / curl's", ratios[1], 0.95);
    row.at_most("1 file: memory / that for a file of a sixteenth of the size", peaks[0] / peaks[2], 1.1);
    row.note(
        "Each download starts with an empty folder in the workspace's target folder, and a synced disk.",
    );
    row.note("The library computes a SHA-256 only if the server sends a checksum. This server does not send one, and curl never computes one.");
    row.plot = Some(Plot::Ratios("curl and sync".to_owned()));
    Ok(row)
}
