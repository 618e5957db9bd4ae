//! What serving this configuration needs to reach, for the process to close the rest.

use crate::process::Reach;
use crate::provider::{Account, HostPort};

use super::Config;

impl Config {
    /// The folders of the files that it names, the ports that it listens on, and those of every
    /// host that may be called. Whatever a room opens or dials has to be found here.
    #[must_use]
    pub fn reach(&self) -> Reach {
        let mut reach = Reach::system();
        for file in &self.files {
            reach.read_file(file);
        }
        if let Some(audit) = &self.audit {
            reach.write_folder(&audit.folder);
        }
        for address in [self.public.address, self.private.address, self.admin] {
            reach.listen(address.port());
        }
        let callbacks = self.apps.iter().flat_map(|app| &app.callback_hosts);
        for host in callbacks.chain(self.registry.accounts().flat_map(|account| called(account))) {
            reach.connect(host.port());
        }
        if let Some(telemetry) = &self.telemetry {
            reach.connect(telemetry.collector.port);
        }
        for shop in &self.shops {
            reach.connect(shop.intake.shop.port);
        }
        reach
    }
}

/// Hosts of an account: its interfaces, where returns from access control servers go, card forms.
fn called(account: &Account) -> impl Iterator<Item = &HostPort> {
    let upstreams = account.upstreams.iter().flatten().map(|upstream| upstream.host());
    upstreams.chain(&account.three_ds.hosts).chain(&account.payform_hosts)
}
