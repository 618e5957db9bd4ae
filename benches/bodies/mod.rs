//! JSON bodies of a wanted size, as providers send them: a list of payments with ids, amounts,
//! times and addresses. No card number is in them.

/// A JSON text of about `len` bytes.
pub fn json(len: usize) -> Vec<u8> {
    let mut text = String::from("{\"data\":[");
    for number in 0.. {
        let item = item(number);
        if number > 0 && text.len() + item.len() + 3 > len {
            break;
        }
        text.push_str(if number == 0 { "" } else { "," });
        text.push_str(&item);
    }
    text.push_str("]}");
    text.into_bytes()
}

/// One payment, 0.3 KB.
fn item(number: usize) -> String {
    format!(
        r#"{{"id":"cpi_eqUNbE6S{number:06}","type":"payment-invoice","attributes":{{"status":"processed","resolution":"ok","amount":{}.{:02},"currency":"USD","reference_id":"7b3df799-5608-56fa-a26b-{number:012x}","description":"Payment for order {number}, thank you","created":{},"customer":{{"email":"customer{number}@example.com"}}}}}}"#,
        10 + number % 90,
        number % 100,
        1_795_000_000 + number,
    )
}
