//! The way out when the configuration changes while serving, and when another process takes over.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use portcullis_sandbox::client::Call;

use super::super::upgrade::Upgrading;
use super::*;

/// A house that may call this port.
async fn house_calling(port: u16) -> House {
    let adjust = Box::new(move |config: String| {
        let hosts = format!("callback_hosts = [\"localhost:{port}\", ");
        config.replacen("callback_hosts = [", &hosts, 1)
    });
    House::with(Options { adjust: Some(adjust), ..Options::default() }).await
}

fn proxy_at(port: u16) -> String {
    format!("\n[upstream.proxy]\nurl = \"http://127.0.0.1:{port}\"\n")
}

/// Writes a file that nobody else may read.
fn keep(file: &Path, secret: &[u8]) {
    let options = OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(file);
    options.unwrap().write_all(secret).unwrap();
}

async fn pays(house: &House) {
    let ready = house.ready("paymega").await;
    house.assert_pays(&mut house.private(Version::Http1).await, &ready).await;
}

#[tokio::test]
async fn a_proxy_is_taken_on_left_and_told_another_password_while_serving() {
    let relay = Relay::start(Asked::Tunnel(None)).await;
    let house = house_calling(relay.port).await;
    let text = house.config_text();
    pays(&house).await;
    assert_eq!(relay.heads().len(), 0);
    let proxy = text.clone() + &proxy_at(relay.port);
    house.change(&proxy).await;
    pays(&house).await;
    let heads = relay.heads();
    assert!(!heads.is_empty(), "connections from before were used");
    assert!(!heads.iter().any(|head| head.contains("authorization")), "{heads:?}");
    let secret = house.world.folder().join("secrets/proxy");
    let known = format!("{proxy}user = \"u\"\npassword = {{ file = \"secrets/proxy\" }}\n");
    // The same configuration twice: what stands in the file is another password.
    for (password, value) in [("one", "dTpvbmU="), ("two", "dTp0d28=")] {
        keep(&secret, password.as_bytes());
        let before = relay.heads().len();
        house.change(&known).await;
        pays(&house).await;
        let heads = relay.heads().split_off(before);
        assert!(!heads.is_empty(), "{password}: connections from before were used");
        assert!(heads.iter().all(|head| head.contains(value)), "{password}: {heads:?}");
    }
    let before = relay.heads().len();
    house.change(&text).await;
    pays(&house).await;
    assert_eq!(relay.heads().len(), before, "the proxy is used still");
}

#[tokio::test]
async fn connections_outlive_a_change_that_leaves_the_way_out() {
    let relay = Relay::start(Asked::Tunnel(None)).await;
    let house = house_with(String::new(), proxy_at(relay.port)).await;
    pays(&house).await;
    let before = relay.heads().len();
    for round in 0..5 {
        let text = house.config_text().replacen("[limits]\n", "[limits]\n# anew\n", 1);
        house.change(&text).await;
        pays(&house).await;
        assert_eq!(relay.heads().len(), before, "in round {round}");
    }
}

#[tokio::test]
async fn what_the_process_closed_to_itself_is_no_new_way_out_before_a_restart() {
    let house = House::open().await;
    let landlock = house.events("started")[0]["process"]["landlock"].as_u64().unwrap();
    let text = house.config_text();
    if landlock < 4 {
        // This kernel closes no ports (before Linux 6.7), so a change may use any.
        house.change(&(text + &proxy_at(9))).await;
        return;
    }
    let egress = "[upstream]\negress_addresses = [\"127.0.0.5\"]\n";
    for (wrong, key) in [
        (text.clone() + &proxy_at(9), "upstream.proxy.url"),
        (text.replacen("[upstream]\n", egress, 1), "upstream.egress_addresses"),
    ] {
        let errors = house.refused(&wrong).await;
        assert_eq!((&errors[0]["key"], errors.len()), (&key.into(), 1), "{errors:?}");
        assert_eq!(errors[0]["reason"], "needs_restart");
        assert!(errors[0]["line"].as_u64().is_some_and(|line| line > 0));
    }
    pays(&house).await;
}

#[tokio::test]
async fn another_source_address_is_taken_by_the_next_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let keys = "egress_addresses = [\"127.0.0.5\"]\n";
    let (house, real) = house_with_cardgate_at(port, keys).await;
    let seen = witness(listener, real);
    let text = house.config_text();
    pays(&house).await;
    let sources = || seen.lock().unwrap().iter().map(|[from, _]| from.clone()).collect::<Vec<_>>();
    assert_eq!(sources(), ["127.0.0.5"]);
    house.change(&text.replace("127.0.0.5", "127.0.0.6")).await;
    pays(&house).await;
    assert_eq!(sources(), ["127.0.0.5", "127.0.0.6"]);
    // Nobody's on this machine: payments go on as before.
    let errors = house.refused(&text.replace("127.0.0.5", "192.0.2.1")).await;
    assert_eq!(errors[0]["key"], "upstream.egress_addresses");
    assert!(errors[0]["detail"].as_str().unwrap().contains("192.0.2.1"), "{errors:?}");
    pays(&house).await;
    assert_eq!(sources().len(), 2);
}

#[tokio::test]
async fn another_address_of_a_host_is_called_next_and_the_one_before_is_forgotten() {
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (house, real) = house_with_cardgate_at(port, "").await;
    let seen = witness(listener, real);
    let text = house.config_text();
    for (round, address) in ["127.0.0.1", "127.0.0.7", "127.0.0.8"].into_iter().enumerate() {
        let host = "[[upstream.host]]\nhost = \"localhost";
        house.change(&format!("{text}\n{host}:{port}\"\naddresses = [\"{address}\"]\n")).await;
        pays(&house).await;
        let seen = seen.lock().unwrap().clone();
        assert_eq!(seen.len(), round + 1);
        assert_eq!(seen[round][1], address);
        assert_eq!(addresses_of(&house, port).await, [address]);
    }
    // The host itself is nobody's any more.
    let cardgate = |port: u16| format!("cardgate = \"https://localhost:{port}/");
    house.change(&text.replacen(&cardgate(port), &cardgate(real), 1)).await;
    pays(&house).await;
    assert_eq!(addresses_of(&house, port).await, [""; 0]);
    let told = series_of(&house, port).await;
    assert!(told.is_empty(), "{told:?}");
    assert_eq!(seen.lock().unwrap().len(), 3);
}

/// Whatever the metrics tell of a host.
async fn series_of(house: &House, port: u16) -> Vec<String> {
    let url = format!("{}/metrics", house.world.addresses.admin);
    let text = house.world.client.send(Call::get(url)).await.unwrap().text();
    let host = format!("host=\"localhost:{port}\"");
    text.lines().filter(|line| line.contains(&host)).map(str::to_owned).collect()
}

/// Addresses of a host that the metrics tell of.
async fn addresses_of(house: &House, port: u16) -> Vec<String> {
    let told = series_of(house, port).await;
    let address = |line: &String| {
        let line = line.strip_prefix("portcullis_upstream_up{")?;
        line.split("address=\"").nth(1)?.split('"').next().map(str::to_owned)
    };
    told.iter().filter_map(address).collect()
}

#[tokio::test]
async fn another_client_certificate_is_shown_by_the_next_connection() {
    let authority = Authority::new();
    ["provider", "one", "two"].iter().for_each(|file| authority.issue(file, &["localhost"]));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let served = asking(&authority, listener);
    let (house, _) = house_with_cardgate_at(port, "").await;
    let folder = house.world.folder().join("tls");
    let copy = |from: &str, to: &str| {
        keep(&folder.join(to), &std::fs::read(authority.path(from)).unwrap());
    };
    copy("ca.pem", "gate-ca.pem");
    let host = format!(
        "\n[[upstream.host]]\nhost = \"localhost:{port}\"\nca_file = \"tls/gate-ca.pem\"\n\
         client_certificate = \"tls/gate.pem\"\nclient_key = {{ file = \"tls/gate.key\" }}\n"
    );
    let text = house.config_text() + &host;
    for (round, name) in ["one", "two", "one"].into_iter().enumerate() {
        copy(&format!("{name}.pem"), "gate.pem");
        copy(&format!("{name}.key"), "gate.key");
        house.change(&text).await;
        let ready = house.ready("paymega").await;
        house.private(Version::Http1).await.send(&ready.ask()).await;
        let served = served.lock().unwrap().clone();
        assert_eq!(served.len(), round + 1);
        let shown = CertificateDer::from_pem_file(authority.path(&format!("{name}.pem"))).unwrap();
        assert!(served.last() == Some(&shown), "another certificate than {name}");
    }
    house.change(&(text.clone() + "server_name = \"other.test\"\n")).await;
    let ready = house.ready("paymega").await;
    let answer = house.private(Version::Http1).await.send(&ready.ask()).await;
    assert_problem(&answer, 502, "upstream_unreachable", "no");
    assert_eq!(served.lock().unwrap().len(), 3, "the name of the certificate was not asked for");
    copy("two.key", "gate.key");
    let errors = house.refused(&text).await;
    assert_eq!(errors[0]["key"], "upstream.host[0].client_key");
}

#[tokio::test]
async fn a_process_that_takes_over_leaves_by_its_own_way() {
    let relay = Relay::start(Asked::Tunnel(None)).await;
    let mut up = Upgrading::open().await;
    let ready = up.house.ready("paymega").await;
    assert_eq!(relay.heads().len(), 0);
    let text = up.house.config_text();
    let egress = "[upstream]\negress_addresses = [\"127.0.0.5\"]\n";
    let text = text.replacen("[upstream]\n", egress, 1);
    up.house.write_config(&(text + &proxy_at(relay.port)));
    let old = up.upgrade().await;
    up.ends(old).await;
    up.house.assert_pays(&mut up.house.private(Version::Http1).await, &ready).await;
    assert!(!relay.heads().is_empty());
    let sources = relay.sources.lock().unwrap().clone();
    assert!(sources.iter().all(|ip| ip == "127.0.0.5"), "{sources:?}");
}
