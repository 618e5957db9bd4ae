//! Ways to providers, applications and shops, and what is done for them beside the payments.

use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use pingora::server::ShutdownWatch;
use pingora::services::background::BackgroundService;

use crate::config::Config;
use crate::proxy::desk::{Desk, Targets};
use crate::proxy::exchange::{Timeouts, UpstreamTls, Upstreams};
use crate::proxy::front::{Shop, Shops};
use crate::proxy::peer::Told;
use crate::proxy::watch;

use super::StartError;

/// The configured upstreams.
pub(super) fn targets(config: &Config, told: &Told) -> Targets {
    let hosts = config.registry.accounts().flat_map(|account| account.upstreams.iter().flatten());
    Targets::of(hosts, told, |host| config.upstream.peer(host))
}

/// Shops that we stand in front of, each with connections of its own.
pub(super) fn shops(config: &mut Config) -> Result<Shops, StartError> {
    let shops = std::mem::take(&mut config.shops);
    let made = shops.into_iter().map(|shop| {
        let upstreams = upstreams(config, shop.ca_file)?;
        Shop::new(shop.intake, upstreams, shop.idle, shop.requests)
            .map_err(|_| StartError::ShopHost)
    });
    Ok(Shops::new(made.collect::<Result<Vec<_>, _>>()?.into_iter()))
}

/// Connections towards providers, applications and shops.
pub(super) fn upstreams(
    config: &Config,
    ca_file: Option<PathBuf>,
) -> Result<Upstreams, StartError> {
    let tls = UpstreamTls { ca_file: ca_file.or_else(|| config.upstream.ca_file.clone()) };
    let timeouts = Timeouts {
        connect: config.upstream.connect_timeout,
        total: config.upstream.total_timeout,
        ..Timeouts::default()
    };
    let upstreams =
        Upstreams::new(&tls, timeouts).map_err(|error| StartError::Tls("upstream", error))?;
    Ok(upstreams.with_answer_max(config.upstream.answer_limit))
}

/// Looks providers' hosts up again and tries their addresses, on a thread that serves nobody.
pub(super) struct Hosts(pub(super) Arc<Desk>);

#[async_trait]
impl BackgroundService for Hosts {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        tokio::select! {
            () = watch::watch(self.0.clone()) => {}
            _ = shutdown.changed() => {}
        }
    }
}
