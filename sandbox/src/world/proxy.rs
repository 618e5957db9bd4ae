//! One running Portcullis: a process of its own, its log in a file.

use crate::client::{Call, Client};
use anyhow::{Context, Result, bail};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tokio::process::{Child, Command};

const START_MAX: Duration = Duration::from_secs(30);
const LOG_LINES_SHOWN: usize = 15;

/// Where its listeners are.
#[derive(Debug, Clone)]
pub struct Addresses {
    /// `https://localhost:…`.
    pub public: String,
    /// `https://localhost:…`.
    pub private: String,
    /// `http://127.0.0.1:…`.
    pub admin: String,
}

impl Addresses {
    /// Of these ports.
    #[must_use]
    pub fn of([public, private, admin]: [u16; 3]) -> Self {
        Self {
            public: format!("https://localhost:{public}"),
            private: format!("https://localhost:{private}"),
            admin: format!("http://127.0.0.1:{admin}"),
        }
    }
}

/// The process.
pub struct Portcullis {
    child: Child,
    /// Where it listens.
    pub addresses: Addresses,
    /// Everything that it wrote to standard output and standard error.
    pub log: PathBuf,
}

impl Portcullis {
    /// Starts it on a configuration and waits until it is ready.
    pub async fn start(
        binary: &Path,
        config: &Path,
        log: PathBuf,
        addresses: Addresses,
        client: &Client,
    ) -> Result<Self> {
        let file = File::options().create(true).append(true).open(&log);
        let file = file.with_context(|| format!("{} cannot be written", log.display()))?;
        let child = Command::new(binary)
            .arg("run")
            .arg("--config")
            .arg(config)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("{} cannot be started", binary.display()))?;
        let mut started = Self { child, addresses, log };
        started.until_ready(client).await?;
        Ok(started)
    }

    /// Its process id; `None` once it has ended.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Ends it.
    pub async fn stop(&mut self) {
        let _ = self.child.kill().await;
    }

    /// Waits until it has ended by itself or by a signal.
    pub async fn ended(&mut self) -> Result<ExitStatus> {
        self.child.wait().await.context("Portcullis cannot be waited for")
    }

    /// The log so far.
    pub fn read_log(&self) -> Result<Vec<u8>> {
        std::fs::read(&self.log).context("Portcullis' log cannot be read")
    }

    async fn until_ready(&mut self, client: &Client) -> Result<()> {
        let end = Instant::now() + START_MAX;
        let url = format!("{}/readyz", self.addresses.admin);
        let client = client.patient(Duration::from_secs(2));
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait()? {
                bail!("Portcullis ended at once ({status}):\n{}", self.last_lines());
            }
            if client.send(Call::get(&url)).await.is_ok_and(|answer| answer.status == 200) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        bail!("Portcullis is not ready after {START_MAX:?}:\n{}", self.last_lines())
    }

    fn last_lines(&self) -> String {
        let log = self.read_log().unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        let from = lines.len().saturating_sub(LOG_LINES_SHOWN);
        lines.get(from..).unwrap_or_default().join("\n")
    }
}
