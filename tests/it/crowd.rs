//! Many at once: slow clients beside good ones, and one return from a bank a hundred times.

use std::time::{Duration, Instant};

use portcullis_sandbox::corefy::cards::PLAIN;
use portcullis_sandbox::corefy::faults::Fault;
use portcullis_sandbox::visitor::TypedCard;
use portcullis_sandbox::world::accounts::App;
use tokio::task::JoinSet;

use super::house::{House, session_of};
use super::line::{Ask, Begun, Line, Version};
use super::upgrade::back_from_the_bank;

const SLOW: usize = 200;
/// Bounds of threat T8.
const GOOD_P95: Duration = Duration::from_millis(500);
const KIB_OF_A_SLOW_ONE: u64 = 64;

/// Brings a byte of a body ten times a second, for as long as it is let.
async fn drip(mut line: Line, mut begun: Begun) {
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        begun = line.more(begun, 1).await;
    }
}

#[tokio::test]
async fn two_hundred_slow_clients_cost_little_and_delay_nobody() {
    let house = House::open().await;
    let mut private = house.private(Version::Http1).await;
    let mut public = house.public(Version::Http1).await;
    let session = session_of(&private.send(&house.session(App::Shop)).await);
    house.ready_over(&mut private, &mut public, "paymega", App::Shop).await;
    let slow = Ask::json("/v1/tokens", TypedCard::number(PLAIN).body() + &" ".repeat(4_000))
        .header("authorization", &format!("Bearer {session}"));
    let before = house.resident_kib();
    let mut crowd = JoinSet::new();
    for at in 0..SLOW {
        let mut line = house.public(Version::BOTH[at % 2]).await;
        let begun = line.begin(&slow, 100).await.unwrap();
        crowd.spawn(drip(line, begun));
    }
    let grown = house.resident_kib().checked_sub(before).expect("memory grows with 200 clients");
    let each = grown / SLOW as u64;
    assert!(crowd.try_join_next().is_none(), "a slow client was gone before it was looked at");
    let mut took = Vec::new();
    // Fewer than the slow ones' bodies may take, at the bound itself.
    for _ in 0..40 {
        let begun = Instant::now();
        let ready = house.ready_over(&mut private, &mut public, "paymega", App::Shop).await;
        house.assert_pays(&mut private, &ready).await;
        took.push(begun.elapsed());
    }
    took.sort_unstable();
    eprintln!("p95 of a whole payment {:?}, {each} KiB for each slow client", took[37]);
    assert!(took[37] < GOOD_P95, "{took:?}");
    assert!(each < KIB_OF_A_SLOW_ONE, "{each} KiB");
}

#[tokio::test]
async fn of_a_hundred_posts_of_one_return_one_reaches_the_provider() {
    let mut house = House::open().await;
    let back = back_from_the_bank(&house).await;
    let mut lines = Vec::new();
    for at in 0..100 {
        lines.push(house.public(Version::BOTH[at % 2]).await);
    }
    house.world.paymega.faults().set("3ds-return", Fault::Held);
    let mut posts = JoinSet::new();
    for mut line in lines {
        let back = back.clone();
        posts.spawn(async move { line.send(&back).await });
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(posts.try_join_next().is_none(), "somebody has not waited");
    house.world.paymega.faults().release();
    let answers = posts.join_all().await;
    let first = &answers[0];
    assert_eq!(first.status, 303, "{}", first.text());
    assert!(first.header("location").is_some());
    for answer in &answers {
        assert_eq!((answer.status, &answer.body), (first.status, &first.body));
        assert_eq!(answer.header("location"), first.header("location"));
    }
    assert_eq!(house.world.paymega.received().count("3ds-return"), 1);
    let again = house.public(Version::Http1).await.send(&back).await;
    assert_eq!((again.status, &again.body), (first.status, &first.body));
    // One that has never heard of it sends nothing.
    let _other = house.move_to_another("other").await;
    let strange = house.public(Version::Http1).await.send(&back).await;
    assert_eq!(strange.status, 404, "{}", strange.text());
    assert_eq!(house.world.paymega.received().count("3ds-return"), 1);
}
