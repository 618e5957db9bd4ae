//! An invoice by its two names, the secret that its answers bring and what the provider calls it:
//! one payment, whichever of its applications knows it by which.

use http::Method;
use portcullis::card::Timestamp;
use portcullis::flow::{Answer, Forwarded, Incoming, Pending, Ready, Refusal};

use crate::bench::{Bench, NOW, OTHER, OTHER_KEY, SHOP, SHOP_KEY, basic, bearer, body, headers};
use crate::bench::{PAN, refusal, sale_json};

const INVOICES: &str = "/paymega/api/payment-invoices";
const SALE: &str = "/paymega/cardgate/payment/sale";
type Invoice<'i> = (&'i str, Option<&'i str>);

fn element((token, id): Invoice<'_>) -> String {
    let id = id.map(|id| format!(r#""id":"{id}","#)).unwrap_or_default();
    format!(r#"{{{id}"attributes":{{"flow_data":{{"metadata":{{"token":"{token}"}}}}}}}}"#)
}

/// One of the two applications at a time.
struct Shop<'b> {
    bench: &'b Bench,
    credentials: (&'static str, &'static str),
    now: Timestamp,
}

impl Shop<'_> {
    /// The handles of what the provider answered.
    fn handles(&self, method: &str, target: &str, request: &str, data: &str) -> Vec<String> {
        let headers = basic(self.credentials, !request.is_empty());
        let sent =
            self.bench.prepare_at(method, target, &headers, request.as_bytes(), self.now).unwrap();
        let headers = crate::bench::headers(&[("content-type", "application/json")]);
        let json = format!(r#"{{"data":{data}}}"#);
        let answer = Answer { status: 200, headers, body: body(json.as_bytes()) };
        let scrubbed = sent.1.finish(answer, &self.bench.flow, self.now).unwrap();
        let text = String::from_utf8(scrubbed.into_parts().2.as_bytes().to_vec()).unwrap();
        let after = |part: &str| part.split('"').next().unwrap().to_owned();
        text.split(r#""token":""#).skip(1).map(after).collect()
    }

    fn makes(&self, invoice: Invoice<'_>) -> String {
        let request = r#"{"data":{"attributes":{"amount":1}}}"#;
        self.handles("POST", INVOICES, request, &element(invoice)).remove(0)
    }

    fn reads(&self, invoice: Invoice<'_>) -> String {
        self.handles("GET", &format!("{INVOICES}/cpi"), "", &element(invoice)).remove(0)
    }

    fn lists(&self, invoices: &[Invoice<'_>]) -> Vec<String> {
        let elements: Vec<_> = invoices.iter().map(|invoice| element(*invoice)).collect();
        self.handles("GET", INVOICES, "", &format!("[{}]", elements.join(",")))
    }

    /// Of one invoice, with a card of its own.
    fn sells(&self, handle: &str) -> Result<Pending, Refusal> {
        let key = if self.credentials == SHOP { SHOP_KEY } else { OTHER_KEY };
        let (token, cvv) = self.bench.capture(key, PAN, "123");
        let (headers, json) = (bearer(handle), sale_json(&token, &cvv));
        let sent = self.bench.prepare_at("POST", SALE, &headers, json.as_bytes(), self.now)?;
        Ok(sent.1)
    }
}

fn shops(bench: &Bench) -> [Shop<'_>; 2] {
    [SHOP, OTHER].map(|credentials| Shop { bench, credentials, now: NOW })
}

fn is_first(sold: Result<Pending, Refusal>) -> Pending {
    sold.unwrap_or_else(|refusal| panic!("{refusal:?}"))
}

#[test]
fn an_invoice_that_another_application_knows_by_its_other_name_is_the_same_payment() {
    type Knows = fn(&Shop<'_>) -> String;
    let made: Knows = |shop| shop.makes(("jwt.one", Some("cpi_1")));
    let listed: Knows = |shop| shop.lists(&[("jwt.one", None)]).remove(0);
    let listed_anew: Knows = |shop| shop.lists(&[("jwt.two", Some("cpi_1"))]).remove(0);
    let read: Knows = |shop| shop.reads(("jwt.one", Some("cpi_1")));
    for (case, [first, second]) in
        [[made, listed], [listed, made], [made, listed_anew], [listed_anew, made], [listed, read]]
            .into_iter()
            .enumerate()
    {
        let bench = Bench::new();
        let [shop, other] = shops(&bench);
        let (ours, theirs) = (first(&shop), second(&other));
        let pending = is_first(shop.sells(&ours));
        let seen = refusal(other.sells(&theirs));
        assert_eq!(seen, "PaymentInFlight { field: None }", "{case}");
        pending.unanswered(Forwarded::Unknown, &bench.flow, NOW);
        let seen = refusal(other.sells(&theirs));
        assert!(seen.starts_with("PaymentUnknown"), "{case}: {seen}");
        // Another invoice is another payment.
        is_first(other.sells(&other.makes(("jwt.three", Some("cpi_3")))));
    }
}

#[test]
fn what_was_released_by_one_name_is_free_by_both() {
    let bench = Bench::new();
    let [shop, other] = shops(&bench);
    let ours = shop.makes(("jwt.one", Some("cpi_1")));
    let theirs = [("jwt.one", None), ("jwt.two", Some("cpi_1"))];
    for handle in other.lists(&theirs) {
        is_first(shop.sells(&ours)).unanswered(Forwarded::No, &bench.flow, NOW);
        is_first(other.sells(&handle)).unanswered(Forwarded::No, &bench.flow, NOW);
    }
}

#[test]
fn an_invoice_that_is_listed_when_its_handle_has_ended_is_the_same_payment() {
    let bench = Bench::new();
    let [shop, _] = shops(&bench);
    let before = Timestamp::from_secs(NOW.as_secs() - 31 * 60);
    let earlier = Shop { bench: &bench, credentials: SHOP, now: before };
    let handle = earlier.makes(("opaque", Some("cpi_1")));
    is_first(earlier.sells(&handle)).unanswered(Forwarded::Unknown, &bench.flow, earlier.now);
    assert_eq!(refusal(shop.sells(&handle)), "HandleUnknown");
    assert_eq!(shop.lists(&[("opaque", None)]), std::slice::from_ref(&handle));
    let seen = refusal(shop.sells(&handle));
    assert!(seen.starts_with("PaymentUnknown"), "{seen}");
}

#[test]
fn each_invoice_of_a_list_is_known_by_its_own_id() {
    let bench = Bench::new();
    let [shop, other] = shops(&bench);
    let handles = shop.lists(&[("jwt.one", Some("cpi_1")), ("jwt.two", Some("cpi_2"))]);
    let anew = other.lists(&[("jwt.1", Some("cpi_1")), ("jwt.2", Some("cpi_2"))]);
    is_first(shop.sells(&handles[0])).unanswered(Forwarded::Unknown, &bench.flow, NOW);
    let seen = refusal(other.sells(&anew[0]));
    assert!(seen.starts_with("PaymentUnknown"), "{seen}");
    let _under_way = is_first(shop.sells(&handles[1]));
    assert_eq!(refusal(other.sells(&anew[1])), "PaymentInFlight { field: None }");
}

#[test]
fn a_repetition_is_known_by_the_id_of_a_listed_invoice() {
    let bench = Bench::new();
    let [shop, _] = shops(&bench);
    let (token, cvv) = bench.shop_card();
    let repeat = |handle: &str| {
        let mut headers = bearer(handle);
        headers.insert("idempotency-key", "cart-7".parse().unwrap());
        let incoming = Incoming {
            method: &Method::POST,
            path: SALE,
            query: None,
            headers: &headers,
            client_names: &[],
            body: body(sale_json(&token, &cvv).as_bytes()),
        };
        bench.flow.prepare(incoming, |_, _| Ok(()), NOW)
    };
    let Ok(Ready::Send(_, pending)) = repeat(&shop.makes(("jwt.one", Some("cpi_1")))) else {
        panic!("not sent")
    };
    let done = headers(&[("content-type", "application/json")]);
    let answer = Answer { status: 200, headers: done, body: body(b"{}") };
    pending.finish(answer, &bench.flow, NOW).unwrap();
    let listed = shop.lists(&[("jwt.two", Some("cpi_1")), ("jwt.three", Some("cpi_3"))]);
    assert!(matches!(repeat(&listed[0]), Ok(Ready::Repeated(_))));
    assert_eq!(refusal(repeat(&listed[1])), "RepeatedDiffers");
}
