//! `download`: large files to the disk, against curl followed by `sync`.

use std::{path::Path, process::Command};

use anyhow::{Context, Result};

use crate::{
    by_hand,
    plot::Plot,
    row::Row,
    sample::{each, in_turn, run as sample},
    server::Server,
};

/// The size of the large file.
const SIZE: u64 = 1 << 30;

/// Fetches so many files at once into a folder, as a process of its own.
pub(crate) fn probe(url: &str, folder: &str, files: usize, bytes: u64) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = by_hand::library(url)?;
        let downloader = akool::download::Downloader::builder().at_once(files).build()?;
        let saves = (0..files).map(async |number| {
            // An id that ended long ago, and says how large its file is.
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

/// Takes a folder's files away, and waits until the disk has them no more.
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
        "Files over loopback to the disk, durably: the library against `curl` followed by `sync FILE`; one file of \
         1 GiB, and eight of 128 MiB at once.",
    );
    let server = Server::start()?;
    let folder = tempfile::Builder::new().prefix("akool-bench").tempdir_in(crate::row::target()?)?;
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
        let [ours, theirs] = in_turn(times, [&ours, &theirs])?;
        let mib = (bytes * files) as f64 / f64::from(1 << 20);
        let mut add = |who: &str, taken: &[_]| {
            row.add(case, who, "CPU", "s", &each(taken, |taken| taken.cpu_seconds));
            let peak = row.add(case, who, "peak memory", "MiB", &each(taken, |taken| taken.peak_mib));
            (row.add(case, who, "throughput", "MiB/s", &each(taken, |taken| mib / taken.seconds)), peak)
        };
        let (a, peak) = add("akool", &ours);
        let (b, _) = add("curl and sync", &theirs);
        ratios.push(a / b);
        peaks.push(peak);
    }
    clear(folder.path())?;
    row.at_least("1 file: throughput over curl's", ratios[0], 0.95);
    row.at_least("8 files at once: throughput over curl's", ratios[1], 0.95);
    row.at_most(
        "memory for a file 16 times as large, over that for the small one,",
        peaks[0] / peaks[2],
        1.1,
    );
    row.note("Each fetch starts with an empty folder and a synced disk, in the workspace's target folder.");
    row.note("The library hashes what comes (SHA-256) where the server names a checksum; this one does not, and curl never does.");
    row.plot = Some(Plot::Ratios("curl and sync".to_owned()));
    Ok(row)
}
