//! How often a payment asks the allocator for memory. Memory is wiped when it is given back, so an
//! allocation costs more here than elsewhere.

use allocation_counter::measure;
use http::Method;
use portcullis::flow::{Answer, Incoming, Ready};
use portcullis::wire::{Edit, Known, Span, parse, scan_json, scan_text, splice};

use crate::bench::{Bench, NOW, bearer, body, headers, sale_json};

const DONE: &str = include_str!("../fixtures/providers/corefy/paymega-en.sale-answer-done.json");

#[test]
fn a_whole_sale_takes_few_allocations() {
    let bench = Bench::new();
    let handle = bench.handle("paymega");
    let (token, cvv) = bench.shop_card();
    let json = body(sale_json(&token, &cvv).as_bytes());
    let mut request = bearer(&handle);
    request.extend(headers(&[("accept", "*/*"), ("user-agent", "shop/1.0")]));
    let answer = Answer {
        status: 200,
        headers: headers(&[("content-type", "application/json")]),
        body: body(DONE.as_bytes()),
    };
    let incoming = Incoming {
        method: &Method::POST,
        path: "/paymega/cardgate/payment/sale",
        query: None,
        headers: &request,
        client_names: &[],
        body: json,
    };
    let mut pending = None;
    let before = measure(|| {
        let ready = bench.flow.prepare(incoming, |_, _| Ok(()), NOW).unwrap();
        let Ready::Send(draft, mut kept) = ready else { panic!("nothing is sent") };
        let signed = draft.sign(NOW).unwrap();
        kept.signed(signed.signature);
        pending = Some((kept, signed.prepared));
    });
    let (pending, prepared) = pending.unwrap();
    assert_eq!(pending.replaced().cvv, 1);
    let mut scrubbed = None;
    let after = measure(|| scrubbed = Some(pending.finish(answer, &bench.flow, NOW).unwrap()));
    drop(prepared);
    assert_eq!(scrubbed.unwrap().into_parts().2.as_bytes(), DONE.as_bytes());
    let total = before.count_total + after.count_total;
    assert!(
        total <= 28,
        "{} before the exchange, {} after it",
        before.count_total,
        after.count_total
    );
}

#[test]
fn a_splice_allocates_its_result_and_nothing_else() {
    let text =
        sale_json("tok_4f5kQ0nB7xY1LrT2zWc9D3sVh6M8gJ", "cvv_4f5kQ0nB7xY1LrT2zWc9D3sVh6M8gJ");
    let edits =
        [(40, 60), (100, 120)].map(|(start, end)| Edit { span: Span { start, end }, bytes: b"x" });
    let taken = measure(|| drop(splice(text.as_bytes(), &edits).unwrap()));
    assert_eq!(taken.count_total, 1);
}

#[test]
fn a_search_that_finds_nothing_allocates_nothing() {
    let sale =
        sale_json("tok_4f5kQ0nB7xY1LrT2zWc9D3sVh6M8gJ", "cvv_4f5kQ0nB7xY1LrT2zWc9D3sVh6M8gJ");
    let list = r#"{"id":"7b3df799-5608-56fa-a26b-5a9b3c26bb5c","name":"reference_id_of_invoice","n":[1.5,2]}"#;
    let known = Known { pans: &[b"5519283812030000"], cvvs: &[b"123"] };
    for text in [sale.as_str(), DONE, list] {
        let document = parse(text.as_bytes()).unwrap();
        let taken = measure(|| {
            assert!(scan_json(&document, &known).is_empty());
            assert!(scan_text(text.as_bytes(), &known).is_empty());
        });
        assert_eq!(taken.count_total, 0, "{text}");
    }
}
