//! The yardstick: Pingora's own `ProxyHttp`, passing everything through and doing nothing else.

use std::path::Path;

use async_trait::async_trait;
use pingora::prelude::*;
use pingora::server::configuration::ServerConf;

use super::ports::{Hop, Peer};

/// One hop's proxy.
struct PassThrough {
    hop: Hop,
}

#[async_trait]
impl ProxyHttp for PassThrough {
    type CTX = ();

    fn new_ctx(&self) {}

    async fn upstream_peer(&self, _: &mut Session, (): &mut ()) -> Result<Box<HttpPeer>> {
        let tls = self.hop == Hop::Tls;
        Ok(Box::new(HttpPeer::new(self.hop.upstream(), tls, "localhost".to_owned())))
    }
}

/// Runs until it is killed, on the files of a working folder.
pub fn run(folder: &Path) -> ! {
    let path = |name: &str| folder.join(name).to_string_lossy().into_owned();
    let conf = ServerConf {
        threads: 1,
        ca_file: Some(path("tls/ca.pem")),
        pid_file: path("bare.pid"),
        upgrade_sock: path("bare.sock"),
        upstream_keepalive_pool_size: 256,
        ..ServerConf::default()
    };
    let mut server = Server::new_with_opt_and_conf(None, conf);
    server.bootstrap();
    for hop in Hop::BOTH {
        let mut service = http_proxy_service(&server.configuration, PassThrough { hop });
        let at = format!("127.0.0.1:{}", Peer::Bare.port(hop));
        service.add_tls(&at, &path("tls/leaf.pem"), &path("tls/leaf.key")).unwrap();
        server.add_service(service);
    }
    server.run_forever()
}
