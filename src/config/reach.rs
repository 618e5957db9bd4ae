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
        for (_, port) in self.called() {
            reach.connect(port);
        }
        if let Some(telemetry) = &self.telemetry {
            reach.connect(telemetry.collector.port);
        }
        if self.upstream.way_out.leaves_from_own() {
            // Any port of the kernel's choice: a source address is bound before connecting.
            reach.listen(0);
        }
        reach
    }

    /// The ports of everything that may be called, each with the key that leads there.
    pub(super) fn called(&self) -> impl Iterator<Item = (String, u16)> {
        let apps = self.apps.iter().enumerate().flat_map(|(index, app)| {
            let ports = app.callback_hosts.iter().map(HostPort::port);
            ports.map(move |port| (format!("app[{index}].callback_hosts"), port))
        });
        let accounts = self.registry.accounts().enumerate().flat_map(|(index, account)| {
            let ports = called(account).map(HostPort::port);
            ports.map(move |port| (format!("account[{index}]"), port))
        });
        let shops = self.shops.iter().enumerate();
        let shops =
            shops.map(|(index, shop)| (format!("intake[{index}].upstream"), shop.intake.shop.port));
        let proxy = self.upstream.way_out.proxy.iter();
        let proxy = proxy.map(|proxy| ("upstream.proxy.url".to_owned(), proxy.port));
        apps.chain(accounts).chain(shops).chain(proxy)
    }
}

/// Hosts of an account: its interfaces, where returns from access control servers go, card forms.
fn called(account: &Account) -> impl Iterator<Item = &HostPort> {
    let upstreams = account.upstreams.iter().flatten().map(|upstream| upstream.host());
    upstreams.chain(&account.three_ds.hosts).chain(&account.payform_hosts)
}
