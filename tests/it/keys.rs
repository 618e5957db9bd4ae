//! Where the root key is while Portcullis serves: nowhere that root, a debugger or a core dump
//! can read.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use portcullis::secret::{KeyMemory, Locked, key_memory};
use portcullis_sandbox::world::Options;
use sha2::Sha256;
use tempfile::TempDir;

use super::house::House;
use super::line::Version;
use super::packages::debugger;

/// SHA-256's first state (FIPS 180-4, 5.3.3).
const FIRST: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// A house whose root keys are known.
pub(super) struct Keyed {
    pub(super) house: House,
    needles: Vec<(String, Vec<u8>)>,
    folder: TempDir,
}

impl Keyed {
    /// With one root key, `1.key`.
    pub(super) async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut needles = made(&folder.path().join("1.key"));
        let first = format!("[vault]\nroot_key = {}\n", reference(&folder, "1.key"));
        let adjust = Box::new(move |config: String| config.replace("[vault]\n", &first));
        let house = House::with(Options { adjust: Some(adjust), ..Options::default() }).await;
        let held = house.world.account("paymega").unwrap();
        for (name, secret) in [
            ("API key", &held.real.key),
            ("callback secret", &held.real.live_secret),
            ("public key", &held.real.public_key),
            ("application's own key", &held.shop.key),
        ] {
            needles.push((name.to_owned(), secret.as_bytes().to_vec()));
        }
        Self { house, needles, folder }
    }

    /// Makes a further root key.
    pub(super) fn keygen(&mut self, file: &str) {
        self.needles.extend(made(&self.path(file)));
    }

    pub(super) fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    /// Writes versions and files into the configuration, in place of those that are there.
    pub(super) fn name(&self, keys: &[(u32, &str)]) {
        let config = self.house.world.config();
        let text = std::fs::read_to_string(&config).unwrap();
        let others = text.lines().filter(|line| !line.starts_with("root_key"));
        let others: String = others.map(|line| format!("{line}\n")).collect();
        let mut named = String::from("[vault]\n");
        let further = keys.iter().filter(|(version, _)| *version > 1);
        let further: Vec<_> = further
            .map(|(version, file)| {
                format!("{{ version = {version}, key = {} }}", reference(&self.folder, file))
            })
            .collect();
        for (_, file) in keys.iter().filter(|(version, _)| *version == 1) {
            named += &format!("root_key = {}\n", reference(&self.folder, file));
        }
        named += &format!("root_keys = [{}]\n", further.join(", "));
        std::fs::write(config, others.replace("[vault]\n", &named)).unwrap();
    }

    /// Work for every key: records are sealed, opened, counted and marked, by all threads.
    pub(super) async fn pay(&self) {
        for version in Version::BOTH {
            for _ in 0..10 {
                let ready = self.house.ready("paymega").await;
                self.house.assert_pays(&mut self.house.private(version).await, &ready).await;
            }
        }
    }

    fn hits(&self, bytes: &[u8]) -> Vec<String> {
        let found =
            self.needles.iter().filter(|(_, needle)| memchr::memmem::find(bytes, needle).is_some());
        found.map(|(name, _)| name.clone()).collect()
    }
}

fn reference(folder: &TempDir, file: &str) -> String {
    format!("{{ file = {:?} }}", folder.path().join(file).to_str().unwrap())
}

/// Has `keygen` make a root key; returns what to search for.
fn made(file: &Path) -> Vec<(String, Vec<u8>)> {
    let mut keygen = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    assert!(keygen.args(["keygen", "--out"]).arg(file).status().unwrap().success());
    needles(std::fs::read_to_string(file).unwrap().trim())
}

/// The key in every form that is as good as the key itself: its bytes, its text, and the states of
/// HMAC after the key's block, which are what the vault keeps.
fn needles(text: &str) -> Vec<(String, Vec<u8>)> {
    let encoded = text.rsplit_once(':').unwrap().1;
    let root: [u8; 32] = STANDARD.decode(encoded).unwrap().try_into().unwrap();
    let mut needles = vec![("text".to_owned(), encoded.as_bytes().to_vec())];
    needles.push(("bytes".to_owned(), root.to_vec()));
    for (state, pad) in [("inner", 0x36), ("outer", 0x5c)] {
        let mut block = [pad; 64];
        block.iter_mut().zip(root).for_each(|(byte, key)| *byte ^= key);
        let mut words = FIRST;
        sha2::block_api::compress256(&mut words, &[block]);
        let bytes = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        needles.push((format!("{state} state"), bytes));
        needles.push((format!("{state} block"), block.to_vec()));
    }
    needles
}

struct Mapping {
    from: u64,
    to: u64,
    /// What the kernel calls it.
    line: String,
    /// Locked and in no core dump: nothing but key memory is both.
    keys: bool,
}

fn mappings(pid: u32) -> Vec<Mapping> {
    let mut mappings: Vec<Mapping> = Vec::new();
    for line in std::fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap().lines() {
        let (first, rest) = line.split_once(' ').unwrap();
        if first == "VmFlags:" {
            let has = |flag: &str| rest.split(' ').any(|known| known == flag);
            mappings.last_mut().unwrap().keys = has("lo") && has("dd");
        } else if let Some((from, to)) = first.split_once('-') {
            let [from, to] = [from, to].map(|end| u64::from_str_radix(end, 16).unwrap());
            mappings.push(Mapping { from, to, line: line.to_owned(), keys: false });
        }
    }
    mappings
}

/// Shows every mapping that root can read; returns how many hold keys. Of those only secret memory
/// is closed to root; where keys are merely locked, which the start tells, they are not looked at.
/// Nothing where this is not root, and the memory closed.
pub(super) fn search_memory(house: &House, pid: u32, look: impl Fn(&[u8], &str)) -> Option<usize> {
    let memory = File::open(format!("/proc/{pid}/mem"));
    if !nix::unistd::Uid::current().is_root() {
        assert!(memory.is_err(), "a user's own process could be read");
        return None;
    }
    let (memory, origin) = (memory.unwrap(), house.world.shop.url().to_owned());
    let (mut read, mut with_keys, mut origins) = (0, 0, 0);
    for Mapping { from, to, line, keys } in mappings(pid) {
        with_keys += usize::from(keys);
        if keys && !line.contains("secretmem") {
            continue;
        }
        let mut bytes = vec![0; usize::try_from(to - from).unwrap().min(1 << 30)];
        if memory.read_exact_at(&mut bytes, from).is_ok() {
            read += bytes.len();
            origins += usize::from(memchr::memmem::find(&bytes, origin.as_bytes()).is_some());
            look(&bytes, &line);
        }
    }
    // The search reads what there is and finds what is there.
    assert!(read > 10_000_000 && origins > 0, "{read} bytes");
    Some(with_keys)
}

#[tokio::test]
async fn the_memory_that_root_can_read_holds_no_root_key() {
    let mut keyed = Keyed::open().await;
    keyed.pay().await;
    // What comes and goes with a rotation leaves nothing behind either.
    keyed.keygen("2.key");
    keyed.keygen("3.key");
    keyed.name(&[(1, "1.key"), (2, "2.key")]);
    keyed.hang_up().await;
    keyed.pay().await;
    keyed.name(&[(2, "2.key"), (3, "3.key")]);
    keyed.hang_up().await;
    keyed.pay().await;
    let search = |bytes: &[u8], line: &str| {
        assert_eq!(keyed.hits(bytes), Vec::<String>::new(), "in {line}");
    };
    let Some(with_keys) = search_memory(&keyed.house, keyed.house.pid(), search) else { return };
    assert!(with_keys > 0);
    // Keys lie as well as this machine's kernel can keep them, and no worse.
    drop(Locked::new(|| [0; 32]));
    let told = &keyed.house.events("started")[0]["process"]["key_memory"];
    assert_eq!(told, key_memory().name());
    assert_ne!(key_memory(), KeyMemory::Swappable);
}

#[tokio::test]
async fn a_core_that_root_forces_holds_no_root_key() {
    let keyed = Keyed::open().await;
    keyed.pay().await;
    let folder = tempfile::tempdir().unwrap();
    debugger();
    let made = Command::new("gcore")
        .arg("-o")
        .arg(folder.path().join("core"))
        .arg(keyed.house.pid().to_string())
        .output()
        .unwrap();
    let core = folder.path().join(format!("core.{}", keyed.house.pid()));
    if !nix::unistd::Uid::current().is_root() {
        assert!(!core.exists(), "a user's own process could be dumped");
        return;
    }
    assert!(core.exists(), "{}", String::from_utf8_lossy(&made.stderr));
    let bytes = std::fs::read(core).unwrap();
    let origin = keyed.house.world.shop.url();
    assert!(memchr::memmem::find(&bytes, origin.as_bytes()).is_some(), "an empty core");
    assert_eq!(keyed.hits(&bytes), Vec::<String>::new());
}

#[test]
fn the_search_knows_the_key_in_every_form() {
    let text = format!("portcullis-root-key-v1:{}", STANDARD.encode([7; 32]));
    let keyed = needles(&text);
    assert_eq!(keyed.len(), 6);
    // RFC 4231 has no states; a digest that was begun from them has to be HMAC's own.
    let mac = Hmac::<Sha256>::new_from_slice(&[7; 32]).unwrap().finalize().into_bytes();
    let state = |name: &str| {
        let bytes = &keyed.iter().find(|(known, _)| known == name).unwrap().1;
        let words = bytes.chunks(4).map(|word| u32::from_ne_bytes(word.try_into().unwrap()));
        <[u32; 8]>::try_from(words.collect::<Vec<_>>()).unwrap()
    };
    let finish = |mut words: [u32; 8], message: &[u8]| {
        let mut block = [0; 64];
        block[..message.len()].copy_from_slice(message);
        block[message.len()] = 0x80;
        block[56..].copy_from_slice(&(8 * (64 + message.len() as u64)).to_be_bytes());
        sha2::block_api::compress256(&mut words, &[block]);
        words.map(u32::to_be_bytes).concat()
    };
    let inner = finish(state("inner state"), b"");
    assert_eq!(finish(state("outer state"), &inner), mac.as_slice());
}
