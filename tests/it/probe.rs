//! Temporary.
use super::house::*;
use portcullis_sandbox::world::Options;
#[tokio::test]
async fn probe() {
    let house = House::with(Options::default()).await;
    let cfg = std::fs::read_to_string(house.world.config()).unwrap();
    let port = |a: &str| a.rsplit(':').next().unwrap().to_owned();
    let a = &house.world.addresses;
    let text = cfg.replace(&format!("127.0.0.1:{}", port(&a.public)), "127.0.0.1:19991").replace(&format!("127.0.0.1:{}", port(&a.admin)), "127.0.0.1:19992");
    let path = house.world.folder().join("taken.toml");
    std::fs::write(&path, text).unwrap();
    let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_portcullis")).args(["run", "--config"]).arg(&path).spawn().unwrap();
    for s in 0..20 { std::thread::sleep(std::time::Duration::from_secs(2));
        println!("{}s exit {:?} readyz {:?}", s*2+2, child.try_wait().unwrap(), std::process::Command::new("curl").args(["-s", "-m1", "http://127.0.0.1:19992/readyz"]).output().map(|o| String::from_utf8_lossy(&o.stdout).into_owned())); }
    child.kill().unwrap();
}
