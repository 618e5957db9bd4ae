//! The working folder: certificates, secrets, and every proxy's configuration.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use portcullis_sandbox::ca::{Ca, Identity};
use portcullis_sandbox::random;
use tempfile::TempDir;

use super::ports::{Hop, Peer};

/// SHA-256 of [`APP_KEY`].
const APP_KEY_SHA256: &str = "2b03b9250e4c8fae26f4a97b01cce9b0c01861919144db402aa18bb0d0f860dc";
/// What the application shows to open capture sessions.
pub const APP_KEY: &str = "pk_load";
/// Where cards come from.
pub const ORIGIN: &str = "https://shop.example.com";
/// Cards that the product, and entries that its Lua rival, may keep.
const CAPACITY: usize = 4_000_000;

/// Everything that the run needs on disk; gone at the end.
pub struct World {
    folder: TempDir,
    /// The throw-away authority.
    pub ca: Ca,
    /// The certificate that every proxy and the provider show: ECDSA P-256.
    pub identity: Identity,
    /// The session that the Lua rival takes cards under.
    pub lua_session: String,
    /// What an application shows the Lua rival.
    pub lua_virtual: String,
    /// What the provider wants to see on a sale.
    pub real_bearer: String,
    /// The virtual Basic pair of the product.
    pub virtual_pair: String,
}

impl World {
    /// Writes it all. `bearer` is the token of the provider's invoices; cards of
    /// the product live for `life_seconds`.
    pub fn new(bearer: &str, life_seconds: u32) -> Self {
        let folder = tempfile::Builder::new().prefix("portcullis-load-").tempdir().unwrap();
        let ca = Ca::new().unwrap();
        let identity = ca.localhost("localhost").unwrap();
        let virtual_key = random::letters(40);
        let world = Self {
            lua_session: format!("Bearer cs_{}", random::letters(27)),
            lua_virtual: format!("Bearer brr_test_{}", random::letters(33)),
            real_bearer: format!("Bearer {bearer}"),
            virtual_pair: format!("coma_shop:{virtual_key}"),
            folder,
            ca,
            identity,
        };
        world.write("tls/ca.pem", world.ca.certificate());
        world.write("tls/leaf.pem", &world.identity.certificate);
        world.write("tls/leaf.key", &world.identity.key);
        let both = format!("{}{}", world.identity.certificate, world.identity.key);
        world.write("tls/both.pem", &both);
        world.write("secrets/provider.key", &random::letters(40));
        world.write("secrets/shop.key", &virtual_key);
        world.write("secrets/audit.key", &random::key_file());
        for folder in ["audit", "audit-other"] {
            fs::create_dir(world.path().join(folder)).unwrap();
        }
        world.write("portcullis.toml", &portcullis(Peer::Portcullis, life_seconds));
        world.write("other.toml", &portcullis(Peer::Other, life_seconds));
        world.write("nginx.conf", &nginx(world.path(), ""));
        world.write("lua.conf", &lua(&world));
        world.write("peer.lua", include_str!("peer.lua"));
        world.write("haproxy.cfg", &haproxy(world.path()));
        world
    }

    /// Has the product that is started next confine itself, or not.
    pub fn confine(&self, confined: bool, life_seconds: u32) {
        let dangers = "danger_no_seccomp = true\ndanger_no_landlock = true\n\
                       danger_allow_core_dumps = true\n";
        let process = format!("[process]\n{}", if confined { "" } else { dangers });
        let text = portcullis(Peer::Portcullis, life_seconds).replacen("[process]\n", &process, 1);
        self.write("portcullis.toml", &text);
    }

    /// Has the product be one that may be taken over, with a second application or without.
    pub fn configure(&self, second: bool, life_seconds: u32) {
        let key = "[vault]\nroot_key = { file = \"secrets/root.key\" }\n";
        let mut text = portcullis(Peer::Portcullis, life_seconds).replacen("[vault]\n", key, 1);
        text.push_str(&format!("[upgrade]\nsocket = \"{}/run/up\"\n", self.path().display()));
        if second {
            let hash = "0".repeat(64);
            text.push_str(&format!(
                "[[app]]\nname = \"second\"\nmode = \"test\"\nkey_sha256 = [\"{hash}\"]\naccounts = [\"tls\"]\n"
            ));
        }
        self.write("portcullis.toml", &text);
    }

    /// What a process needs to take over from another.
    pub fn prepare_upgrades(&self) {
        self.write("secrets/root.key", &random::key_file());
        let run = self.path().join("run");
        fs::create_dir(&run).unwrap();
        fs::set_permissions(&run, Permissions::from_mode(0o700)).unwrap();
    }

    /// Another certificate of the same authority, with a key of its own, for both listeners.
    pub fn renew(&self) {
        let identity = self.ca.localhost("localhost").unwrap();
        self.write("tls/leaf.key", &identity.key);
        self.write("tls/leaf.pem", &identity.certificate);
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    }
}

fn portcullis(peer: Peer, life_seconds: u32) -> String {
    let profile = repository().join("config/providers/paymega.toml");
    let mut text = format!(
        r#"providers = ["{}"]
[public]
address = "127.0.0.1:{}"
url = "https://localhost:{}"
certificate = "tls/leaf.pem"
key = "tls/leaf.key"
[private]
address = "127.0.0.1:{}"
certificate = "tls/leaf.pem"
key = "tls/leaf.key"
[admin]
address = "127.0.0.1:{}"
[server]
threads = 1
drain_seconds = 0
[vault]
capacity = {CAPACITY}
card_ttl_seconds = {life_seconds}
cvv_ttl_seconds = {life_seconds}
[upstream]
ca_file = "tls/ca.pem"
danger_allow_private_addresses = true
danger_plain_http = true
[audit]
folder = "{}"
key = {{ file = "secrets/audit.key" }}
[process]
# The run may be a container's root.
danger_run_as_root = true
[limits]
connections_per_address = 5000
# Every rate is counted and none is met: one client plays all of them.
[rates]
address = "1000000/s"
address_cards = "1000000/s"
session_cards = "1000000/s"
card = "1000000/s"
bin = "1000000/s"
app_route = "1000000/s"
[[app]]
name = "shop"
mode = "test"
key_sha256 = ["{}"]
accounts = ["plain", "tls"]
origins = ["{ORIGIN}"]
callback_hosts = ["shop.example.com"]
"#,
        profile.display(),
        peer.capture_port(),
        peer.capture_port(),
        peer.port(Hop::Plain),
        peer.admin_port(),
        if peer == Peer::Other { "audit-other" } else { "audit" },
        APP_KEY_SHA256,
    );
    for hop in Hop::BOTH {
        text.push_str(&account(hop));
    }
    text
}

fn account(hop: Hop) -> String {
    let name = hop.name();
    let base = match hop {
        Hop::Plain => format!("http://localhost:{}", hop.upstream().port()),
        Hop::Tls => format!("https://localhost:{}", hop.upstream().port()),
    };
    format!(
        r#"[[account]]
name = "{name}"
provider = "paymega"
mode = "test"
[account.upstreams]
api = "{base}"
public = "{base}"
cardgate = "{base}"
[account.credentials]
id = "coma_real"
key = {{ file = "secrets/provider.key" }}
[account.virtual.shop]
id = "coma_shop"
key = {{ file = "secrets/shop.key" }}
[account.three_ds]
hosts = ["card.psp.name"]
"#
    )
}

/// The common part of both nginx peers; `sale` stands in the location of sales.
fn nginx(folder: &Path, sale: &str) -> String {
    let peer = if sale.is_empty() { Peer::Nginx } else { Peer::Lua };
    let folder = folder.display();
    let name = peer.name();
    let (plain, tls) = (Hop::Plain.upstream(), Hop::Tls.upstream());
    let (plain_port, tls_port) = (peer.port(Hop::Plain), peer.port(Hop::Tls));
    let marker = if sale.is_empty() { "" } else { "#lua\n" };
    format!(
        r#"user root;
worker_processes 1;
daemon off;
pid {folder}/{name}.pid;
error_log {folder}/{name}.log warn;
worker_rlimit_nofile 16384;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  keepalive_requests 100000000;
  keepalive_timeout 3600;
  client_body_buffer_size 128k;
  client_max_body_size 1m;
  proxy_buffer_size 8k;
  proxy_buffers 16 8k;
  ssl_protocols TLSv1.3;
  ssl_certificate {folder}/tls/leaf.pem;
  ssl_certificate_key {folder}/tls/leaf.key;
  proxy_http_version 1.1;
  proxy_set_header Connection "";
  upstream plain {{ server {plain}; keepalive 256; keepalive_requests 100000000; }}
  upstream tls {{ server {tls}; keepalive 256; keepalive_requests 100000000; }}
  {marker}server {{
    listen 127.0.0.1:{plain_port} ssl;
    location / {{
      {sale}
      proxy_pass http://plain;
    }}
  }}
  server {{
    listen 127.0.0.1:{tls_port} ssl;
    location / {{
      {sale}
      proxy_pass https://tls;
      proxy_ssl_protocols TLSv1.3;
      proxy_ssl_verify on;
      proxy_ssl_trusted_certificate {folder}/tls/ca.pem;
      proxy_ssl_name localhost;
      proxy_ssl_server_name on;
    }}
  }}
}}
"#
    )
}

fn lua(world: &World) -> String {
    let folder = world.path().display();
    let sale = format!(
        "access_by_lua_block {{ peer.reveal(\"{}\", \"{}\") }}\n      \
         body_filter_by_lua_block {{ peer.scrub() }}",
        world.lua_virtual, world.real_bearer
    );
    let own = format!(
        r#"lua_shared_dict cards 1024m;
  lua_package_path "{folder}/?.lua;;";
  init_by_lua_block {{ require "resty.core"; peer = require "peer" }}
  server {{
    listen 127.0.0.1:{} ssl;
    location = /v1/tokens {{ content_by_lua_block {{ peer.capture("{}") }} }}
  }}
"#,
        Peer::Lua.capture_port(),
        world.lua_session
    );
    let modules = "load_module modules/ndk_http_module.so;\n\
                   load_module modules/ngx_http_lua_module.so;\n";
    let text = nginx(world.path(), &sale).replace("#lua\n", &own);
    text.replacen("worker_processes", &format!("{modules}worker_processes"), 1)
}

fn haproxy(folder: &Path) -> String {
    let folder = folder.display();
    let mut text =
        "global\n  nbthread 1\n  maxconn 8000\n  ssl-default-bind-options ssl-min-ver TLSv1.3\n\
         defaults\n  mode http\n  timeout connect 5s\n  timeout client 1h\n  timeout server 1h\n  \
         option http-keep-alive\n  http-reuse always\n"
            .to_owned();
    for hop in Hop::BOTH {
        let (name, port, upstream) = (hop.name(), Peer::Haproxy.port(hop), hop.upstream());
        let tls = match hop {
            Hop::Plain => String::new(),
            Hop::Tls => format!(
                " ssl verify required ca-file {folder}/tls/ca.pem sni str(localhost) \
                 ssl-min-ver TLSv1.3"
            ),
        };
        text.push_str(&format!(
            "frontend {name}\n  bind 127.0.0.1:{port} ssl crt {folder}/tls/both.pem\n  \
             default_backend {name}\n\
             backend {name}\n  server provider {upstream} pool-max-conn 256{tls}\n"
        ));
    }
    text
}

/// The repository that this bench was built from.
pub fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
