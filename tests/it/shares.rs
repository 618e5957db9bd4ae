//! A root key in shares: typed in at a terminal, or handed over by another program.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::pty::openpty;
use portcullis_sandbox::client::Call;
use serde_json::json;

use super::house::House;
use super::keys::search_memory;
use super::line::Version;

/// The lines of a new key.
fn shares(count: u8, threshold: u8) -> Vec<String> {
    let made = Command::new(env!("CARGO_BIN_EXE_portcullis"))
        .args(["keygen", "--shares", &count.to_string(), "--threshold", &threshold.to_string()])
        .output()
        .unwrap();
    assert!(made.status.success());
    let lines: Vec<_> =
        String::from_utf8(made.stdout).unwrap().lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), usize::from(count));
    lines
}

/// Ends the process, whatever the test came to.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl House {
    /// A house whose Portcullis does not run yet: its root key is in two shares.
    async fn shared() -> Self {
        let mut house = Self::open().await;
        house.world.stop_proxy().await;
        let config = house.world.config();
        let text = std::fs::read_to_string(&config).unwrap();
        let text = text.replace("[vault]\n", "[vault]\nroot_key = { shares = 2 }\n");
        std::fs::write(config, text).unwrap();
        house
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
        command.args(["run", "--config"]).arg(self.world.config()).stdout(Stdio::null());
        command
    }

    /// Starts it and hands these lines over.
    fn started_with(&self, lines: &[&str]) -> Running {
        let log = self.world.folder().join("logs/portcullis.log");
        let log = File::options().append(true).open(log).unwrap();
        let child = self.command().stdin(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut running = Running(child);
        let mut input = running.0.stdin.take().unwrap();
        lines.iter().for_each(|line| writeln!(input, "{line}").unwrap());
        running
    }

    async fn until_ready(&self) {
        let url = format!("{}/readyz", self.world.addresses.admin);
        for _ in 0..500 {
            if self
                .world
                .client
                .send(Call::get(&url))
                .await
                .is_ok_and(|answer| answer.status == 200)
            {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("Portcullis is not ready");
    }

    async fn serves(&self) {
        let ready = self.ready("paymega").await;
        self.assert_pays(&mut self.private(Version::Http1).await, &ready).await;
    }
}

#[tokio::test]
async fn any_two_of_three_shares_start_it_with_the_same_key_and_leave_nothing_in_memory() {
    let house = House::shared().await;
    let lines = shares(3, 2);
    let running = house.started_with(&[&lines[2], "", &lines[0].to_uppercase().replace('-', " ")]);
    house.until_ready().await;
    for _ in 0..5 {
        house.serves().await;
    }
    // What was typed in cannot be read anew, and stays.
    house.hang_up_at(running.0.id()).await;
    let read = json!({ "event": "root_keys_read", "current": 1, "older": [] });
    assert_eq!(house.last("root_keys_read"), read);
    let config = house.world.config();
    let before = std::fs::read_to_string(&config).unwrap();
    let further = "[vault]\nroot_keys = [{ version = 2, key = { shares = 2 } }]\n";
    std::fs::write(&config, before.replace("[vault]\n", further)).unwrap();
    house.hang_up_at(running.0.id()).await;
    let key = "vault.root_keys[0].key";
    let refused = house.last("reload_refused");
    assert_eq!((&refused["key"], &refused["reason"]), (&json!(key), &json!("typed_at_start")));
    std::fs::write(&config, before).unwrap();
    let search = |bytes: &[u8], mapping: &str| {
        for line in &lines {
            let plain = line.replace('-', "");
            let spelled = [line.clone(), plain.clone(), plain.to_uppercase(), line.to_uppercase()];
            for text in spelled.iter().chain([&line.to_uppercase().replace('-', " ")]) {
                // A part of it is enough to be found.
                let part = &text.as_bytes()[text.len() / 2..text.len() / 2 + 16];
                assert!(memchr::memmem::find(bytes, part).is_none(), "a share in {mapping}");
            }
        }
    };
    search_memory(&house, running.0.id(), search);
    drop(running);

    let running = house.started_with(&[&lines[1], &lines[2]]);
    house.until_ready().await;
    house.serves().await;
    drop(running);
    let keys = house.audited("keyed");
    assert_eq!(keys.len(), 3, "the house's own, and two starts");
    assert_eq!(keys[1]["key_id"], keys[2]["key_id"]);
    assert_ne!(keys[0]["key_id"], keys[1]["key_id"]);
}

#[tokio::test]
async fn a_share_that_does_not_fit_starts_nothing_and_its_line_is_named() {
    let house = House::shared().await;
    let (lines, others, three) = (shares(3, 2), shares(3, 2), shares(3, 3));
    let wrong = lines[1]
        .replace(&lines[1][20..24], if &lines[1][20..24] == "0000" { "1111" } else { "0000" });
    let cases: [(&[&str], &str); 7] = [
        (&[&lines[0], &wrong], "line 2 of standard input has a typing error"),
        (&["", &lines[0], &lines[0]], "line 3 of standard input was given before"),
        (&[&lines[0], &others[1]], "line 2 of standard input belongs to another key"),
        (&[&three[0], &lines[1]], "line 1 of standard input belongs to a key that needs 3 shares"),
        (&["hello", &lines[1]], "line 1 of standard input is not a share"),
        (&[&lines[0]], "standard input ended after 1 of 2 shares"),
        (&[], "standard input ended after 0 of 2 shares"),
    ];
    for (given, complaint) in cases {
        let mut child =
            house.command().stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        // It may have ended before the last line.
        given.iter().for_each(|line| drop(writeln!(input, "{line}")));
        drop(input);
        let ended = child.wait_with_output().unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(ended.status.code(), Some(1), "{said}");
        assert!(said.contains(&format!("vault.root_key: {complaint}")), "{said}");
        for line in given.iter().filter(|line| line.len() > 20) {
            assert!(!said.contains(&line[10..20]), "{said}");
        }
    }
    assert_eq!(house.events("started").len(), 1, "the house's own alone");
}

/// What a terminal showed so far.
fn watch(mut terminal: File) -> Arc<Mutex<String>> {
    let shown = Arc::new(Mutex::new(String::new()));
    let seen = Arc::clone(&shown);
    std::thread::spawn(move || {
        let mut bytes = [0; 1024];
        while let Ok(len @ 1..) = terminal.read(&mut bytes) {
            seen.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..len]));
        }
    });
    shown
}

async fn until_shown(shown: &Mutex<String>, text: &str) {
    for _ in 0..500 {
        if shown.lock().unwrap().contains(text) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("not shown: {text}; but: {}", shown.lock().unwrap());
}

#[tokio::test]
async fn a_terminal_shows_no_share_and_asks_again_after_a_typing_error() {
    let house = House::shared().await;
    let lines = shares(2, 2);
    let pty = openpty(None, None).unwrap();
    let mut keyboard = File::from(pty.master);
    let shown = watch(keyboard.try_clone().unwrap());
    let mut command = house.command();
    command.stdin(pty.slave.try_clone().unwrap()).stderr(pty.slave);
    let running = Running(command.spawn().unwrap());
    drop(command);
    until_shown(&shown, "vault.root_key: share 1 of 2: ").await;
    writeln!(keyboard, "{}", lines[0]).unwrap();
    until_shown(&shown, "share 2 of 2: ").await;
    writeln!(keyboard, "{}", lines[0]).unwrap();
    until_shown(&shown, "the share was given before; once more").await;
    writeln!(keyboard, "{}", lines[1]).unwrap();
    house.until_ready().await;
    house.serves().await;
    drop(running);
    let shown = shown.lock().unwrap();
    for line in lines {
        assert!(!shown.contains(&line[10..20]), "{shown}");
    }
}

#[tokio::test]
async fn ctrl_c_ends_the_typing_and_leaves_the_terminal_as_it_was() {
    let house = House::shared().await;
    let lines = shares(2, 2);
    let pty = openpty(None, None).unwrap();
    let before = rustix::termios::tcgetattr(&pty.slave).unwrap();
    let mut keyboard = File::from(pty.master);
    let shown = watch(keyboard.try_clone().unwrap());
    let mut command = house.command();
    command.stdin(pty.slave.try_clone().unwrap()).stderr(pty.slave.try_clone().unwrap());
    let mut running = Running(command.spawn().unwrap());
    until_shown(&shown, "share 1 of 2: ").await;
    let hidden = rustix::termios::tcgetattr(&pty.slave).unwrap();
    assert_ne!(hidden.local_modes, before.local_modes);
    // Within a line, and without the end of one.
    write!(keyboard, "{}\u{3}", &lines[0][..20]).unwrap();
    let ended = tokio::task::spawn_blocking(move || running.0.wait().unwrap()).await.unwrap();
    assert_eq!(ended.code(), Some(1));
    until_shown(&shown, "interrupted after 0 of 2 shares").await;
    let after = rustix::termios::tcgetattr(&pty.slave).unwrap();
    assert_eq!(after.local_modes, before.local_modes);
    assert!(!shown.lock().unwrap().contains(&lines[0][10..20]));
}
