//! The server of the row `download`: nginx with HTTP/1.1 and HTTP/2 over TLS, on this machine.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    net::TcpListener,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result};

use crate::process::Running;

/// nginx with its folder.
pub(crate) struct FileServer {
    _process: Running,
    folder: PathBuf,
    url: String,
}

impl FileServer {
    /// Starts nginx in a folder, with a certificate for `localhost`.
    pub(crate) fn start(folder: &Path) -> Result<Self> {
        let files = folder.join("files");
        fs::create_dir_all(&files)?;
        let arguments = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost \
                         -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE \
                         -keyout key.pem -out cert.pem";
        let made = duct::cmd("openssl", arguments.split_whitespace()).dir(folder).stderr_null().run();
        made.context("cannot make a certificate; install openssl")?;
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
        let process = Running::start(&mut server)?.listens(port)?;
        Ok(Self { _process: process, folder: folder.to_owned(), url: format!("https://localhost:{port}") })
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
            std::io::copy(&mut std::io::repeat(b'a').take(bytes - 8), &mut file)?;
        }
        Ok(format!("{}/{name}", self.url))
    }
}
