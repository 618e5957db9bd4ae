//! The table of bad input, over the wire: each has its own code, says that nothing was sent and
//! repeats nothing; the provider receives nothing, and the same tokens still pay.

mod browser;
mod caller;
mod sale;

use portcullis_sandbox::visitor::Tokens;
use portcullis_sandbox::world::Options;
use portcullis_sandbox::world::accounts::App;

use super::house::{House, Ready, assert_problem};
use super::line::{Ask, Line, Version};
use super::tap::Tap;

/// What a row can be made of.
struct Scene<'h> {
    house: &'h House,
    /// Everything that a good sale takes; used for one at the end of the row.
    ready: &'h Ready,
    /// A second card of the same application.
    second: &'h Tokens,
    /// Tokens and handle of another application.
    foreign: &'h Ready,
    /// Tokens that were valid until they were revoked.
    revoked: &'h Tokens,
    /// A handle of the same application for another account.
    elsewhere: &'h Ready,
}

impl Scene<'_> {
    /// The good sale with another body.
    fn sale(&self, body: impl Into<bytes::Bytes>) -> Ask {
        self.ready.ask().with_body(body)
    }

    /// The good sale's body with one piece replaced; the piece must be there.
    fn with(&self, piece: &str, other: &str) -> Ask {
        let body = self.ready.body();
        assert_eq!(body.matches(piece).count(), 1, "{piece}");
        self.sale(body.replace(piece, other))
    }

    /// The good sale with another text, written as JSON, in the place of the card token.
    fn number(&self, json: &str) -> Ask {
        self.with(&format!("\"{}\"", self.ready.tokens.token), json)
    }

    fn cvv(&self, json: &str) -> Ask {
        self.with(&format!("\"{}\"", self.ready.tokens.cvv_token), json)
    }
}

/// Name, status, code, and how the request is made.
type Row = (&'static str, u16, &'static str, fn(&Scene<'_>) -> Ask);

/// Lines and cards that all rows of one HTTP version share.
struct Table {
    tap: Tap,
    house: House,
    version: Version,
    private: Line,
    public: Line,
    second: Tokens,
    foreign: Ready,
    revoked: Tokens,
    elsewhere: Ready,
}

impl Table {
    async fn set(version: Version) -> Self {
        let tap = Tap::open().await;
        let adjust = Some(tap.adjust("/"));
        let house = House::with(Options { adjust, ..Options::default() }).await;
        // What belongs to the test and not to the row goes over HTTP/1.1.
        let mut private = house.private(Version::Http1).await;
        let mut public = house.public(Version::Http1).await;
        let second = house.tokens(&mut private, &mut public, App::Shop).await;
        let revoked = house.tokens(&mut private, &mut public, App::Shop).await;
        let gone = Ask::new(http::Method::DELETE, &format!("/v1/tokens/{}", revoked.token))
            .header("portcullis-key", house.world.key(App::Shop));
        assert_eq!(private.send(&gone).await.status, 204);
        let foreign = house.ready_over(&mut private, &mut public, "paymega", App::Stall).await;
        let elsewhere =
            house.ready_over(&mut private, &mut public, "paymega-relay", App::Shop).await;
        Self { tap, house, version, private, public, second, foreign, revoked, elsewhere }
    }

    async fn ready(&mut self) -> Ready {
        let (private, public) = (&mut self.private, &mut self.public);
        self.house.ready_over(private, public, "paymega", App::Shop).await
    }

    fn scene<'h>(&'h self, ready: &'h Ready) -> Scene<'h> {
        Scene {
            house: &self.house,
            ready,
            second: &self.second,
            foreign: &self.foreign,
            revoked: &self.revoked,
            elsewhere: &self.elsewhere,
        }
    }

    /// Plays one row at the private listener.
    async fn refuses(&mut self, (name, status, code, make): Row) {
        eprintln!("{:?}: {name}", self.version);
        let ready = self.ready().await;
        let ask = make(&self.scene(&ready));
        let (before, sent) = (self.house.received(), self.tap.bytes());
        let answer = self.house.private(self.version).await.send(&ask).await;
        let document = assert_problem(&answer, status, code, "no");
        assert_eq!(document["retry"], "safe", "{name}");
        assert_eq!(answer.header("portcullis-replaced"), None, "{name}");
        assert_eq!(answer.header("portcullis-upstream-status"), None, "{name}");
        assert_eq!(self.house.received(), before, "{name}: it went to the provider");
        assert_eq!(self.tap.bytes(), sent, "{name}: some of it went to the provider");
        self.house.assert_pays(&mut self.private, &ready).await;
        assert_eq!(self.house.received(), before + 1, "{name}");
    }
}

/// Every row, over both HTTP versions.
async fn all_are_refused(rows: &[Row]) {
    for version in Version::BOTH {
        let mut table = Table::set(version).await;
        for row in rows {
            table.refuses(*row).await;
        }
        // The tokens of others were used in vain, and are none the worse for it.
        let Table { house, private, foreign, elsewhere, .. } = &mut table;
        house.assert_pays(private, foreign).await;
        house.assert_pays(private, elsewhere).await;
        house.assert_alive().await;
    }
}
