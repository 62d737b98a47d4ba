//! The server of the row `download`: nginx with HTTP/1.1 and HTTP/2 over TLS, on this machine.

use std::{
    fs::{self, File},
    io::Write as _,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command},
    time::{Duration, Instant},
};

use anyhow::{Context, Result};

/// nginx with its folder. Dropping this ends it.
pub(crate) struct FileServer {
    process: Child,
    folder: PathBuf,
    url: String,
}

impl FileServer {
    /// Starts nginx in a folder, with a certificate for `localhost`.
    pub(crate) fn start(folder: &Path) -> Result<Self> {
        let files = folder.join("files");
        fs::create_dir_all(&files)?;
        let made = Command::new("openssl")
            .current_dir(folder)
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-days",
                "2",
            ])
            .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"])
            .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout", "key.pem", "-out", "cert.pem"])
            .output();
        let made = made.context("cannot run openssl; install openssl")?;
        anyhow::ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|kind| format!("{kind}_temp_path temporary; "))
            .collect();
        fs::write(
            folder.join("nginx.conf"),
            format!(
                "master_process off; daemon off; pid nginx.pid; error_log stderr; events {{}}
                http {{ access_log off; default_type video/mp4; keepalive_requests 100000; {temporary}
                  server {{ listen 127.0.0.1:{port} ssl http2; ssl_certificate cert.pem; ssl_certificate_key key.pem;
                    root {files}; }} }}",
                files = files.display()
            ),
        )?;
        let mut server = Command::new("nginx");
        server.arg("-p").arg(folder).args(["-c", "nginx.conf", "-e", "stderr"]);
        let process = server.spawn().context("cannot run nginx; install nginx-light")?;
        let server = Self { process, folder: folder.to_owned(), url: format!("https://localhost:{port}") };
        let began = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            anyhow::ensure!(began.elapsed() < Duration::from_secs(10), "nginx does not answer");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(server)
    }

    pub(crate) fn certificate(&self) -> PathBuf {
        self.folder.join("cert.pem")
    }

    /// The URL of a file of so many bytes, which starts as a video.
    pub(crate) fn file(&self, bytes: u64) -> Result<String> {
        let name = format!("{bytes}.mp4");
        let path = self.folder.join("files").join(&name);
        if !path.exists() {
            let mut file = File::create(&path)?;
            // One box up to the end of the file.
            file.write_all(b"\0\0\0\0mdat")?;
            let block = [b'a'; 64 * 1024];
            let mut left = bytes - 8;
            while left > 0 {
                let part = left.min(block.len() as u64);
                file.write_all(&block[..part as usize])?;
                left -= part;
            }
        }
        Ok(format!("{}/{name}", self.url))
    }
}

impl Drop for FileServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
