//! One round: a process is started, payments are made, its memory is searched, connections are
//! closed, it is searched again.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use portcullis_sandbox::world::{Options, Proxy};
use tempfile::TempDir;

use super::house::House;
use super::load::{Plan, Worker};
use super::memory::scan;
use super::scan::{Hits, Search};
use super::wanted;

/// When the memory is searched after the last answer, and after the connections were closed. The
/// bounds that are promised are two seconds and one, and the search takes a part of them.
pub(crate) const AFTER_ANSWER: Duration = Duration::from_millis(1_000);
pub(crate) const AFTER_CLOSE: Duration = Duration::from_millis(500);

/// Which program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Build {
    /// As it is shipped.
    Product,
    /// The same library in a program with the system's allocator.
    Mutant,
}

/// What was found.
pub(crate) struct Residue {
    pub(crate) payments: usize,
    /// With a payment of each worker at the provider.
    pub(crate) under_way: Hits,
    pub(crate) open: Hits,
    pub(crate) closed: Hits,
}

/// Plays a round and prints its table.
pub(crate) fn play(build: Build, payments: usize) -> Residue {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(round(build, payments))
}

/// A house whose vault has this root key.
pub(crate) struct Keyed {
    pub(crate) house: Arc<House>,
    pub(crate) pid: u32,
    pub(crate) root_key: [u8; 32],
    _folder: TempDir,
}

impl Keyed {
    /// With this program in place of the product, if there is one.
    pub(crate) async fn open(program: Option<PathBuf>) -> Self {
        Self::open_with(program, "").await
    }

    /// The same with further tables of the configuration.
    pub(crate) async fn open_with(program: Option<PathBuf>, tables: &str) -> Self {
        let tables = tables.to_owned();
        Self::open_adjusted(program, move |config| config + &tables).await
    }

    /// The same with changes to the configuration.
    pub(crate) async fn open_adjusted(
        program: Option<PathBuf>,
        adjusted: impl Fn(String) -> String + Send + Sync + 'static,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key_file = folder.path().join("root.key");
        let text = portcullis::config::new_root_key();
        std::fs::write(&key_file, text.as_bytes()).unwrap();
        std::fs::set_permissions(&key_file, Permissions::from_mode(0o600)).unwrap();
        let root_key = wanted::root_key_in(&text);

        let line = format!("[vault]\nroot_key = {{ file = \"{}\" }}", key_file.display());
        let adjust = Box::new(move |config: String| {
            adjusted(with_tracer(config.replacen("[vault]", &line, 1)))
        });
        let upstream_timeout = Duration::from_millis(2_500);
        let options = Options { upstream_timeout, adjust: Some(adjust), ..Options::default() };
        let house = match program {
            None => House::with(options).await,
            Some(program) => House::with_proxy(Proxy::Binary(program), options).await,
        };
        let pid = house.world.proxy().unwrap().pid().unwrap();
        Self { house: Arc::new(house), pid, root_key, _folder: folder }
    }
}

async fn round(build: Build, payments: usize) -> Residue {
    let program = (build == Build::Mutant).then(|| std::env::current_exe().unwrap());
    let keyed = Keyed::open(program).await;
    let (house, pid, root_key) = (Arc::clone(&keyed.house), keyed.pid, keyed.root_key);
    let plan = Plan::of(payments);
    let cards = plan.cards();
    let search =
        tokio::task::spawn_blocking(move || Search::of(&wanted::everything(cards, &root_key)));
    let search = Arc::new(search.await.unwrap());

    let begun = Instant::now();
    let workers = Worker::hire(&house).await;
    let look = {
        let search = Arc::clone(&search);
        move || scan(pid, &search)
    };
    let (workers, under_way) = plan.meanwhile(&house, workers, look).await;
    let workers = plan.play(&house, workers).await;
    let (payments, seconds) = (plan.payments(), begun.elapsed().as_secs_f64());
    eprintln!("  {build:?}: {payments} payments, {cards} cards in {seconds:.1} s");
    under_way.print("payments under way");

    let [open, closed] = at_rest(pid, &search, workers).await;
    house.assert_alive().await;
    let under_way = under_way.hits();
    Residue { payments, under_way, open, closed }
}

/// What is left after the last answer with the workers' connections open, and after they closed.
pub(crate) async fn at_rest(pid: u32, search: &Search, workers: Vec<Worker>) -> [Hits; 2] {
    tokio::time::sleep(AFTER_ANSWER).await;
    let open = scan(pid, search);
    open.print("connections open");
    drop(workers);
    tokio::time::sleep(AFTER_CLOSE).await;
    let closed = scan(pid, search);
    closed.print("after they closed");
    [open, closed].map(|scan| scan.hits())
}

/// Whoever is not root may look into its children only if they let it.
fn with_tracer(config: String) -> String {
    if nix::unistd::Uid::effective().is_root() {
        return config;
    }
    config.replacen("[process]", "[process]\ndanger_allow_core_dumps = true", 1)
}
