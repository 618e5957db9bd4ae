//! Every byte outside the selected fields stays as it was, whatever the document looks like.

use proptest::prelude::*;

use crate::bench::{Bench, CVV, PAN, sent};

/// A JSON text with odd but valid spelling: white space, escapes, empty things, long numbers.
fn noise() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("[]".to_owned()),
        Just("{}".to_owned()),
        Just("null".to_owned()),
        Just("true".to_owned()),
        Just("1.10".to_owned()),
        Just("-0.0e+10".to_owned()),
        Just("17".to_owned()),
        Just("1234567.000000000000000000001".to_owned()),
        Just(r#""a\/b\u00e9\n\"q\"""#.to_owned()),
        Just("\"ключ — 鍵\"".to_owned()),
        "\"[a-z ;:&=+%]{0,12}\"".prop_map(|text| text),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let space = prop_oneof![Just(""), Just(" "), Just("\n\t"), Just("\r\n  ")];
        (prop::collection::vec((inner, space), 0..4), any::<bool>()).prop_map(|(parts, object)| {
            let joined: Vec<String> = parts
                .iter()
                .enumerate()
                .map(|(at, (part, space))| match object {
                    true => format!("{space}\"k{at}\"{space}:{part}{space}"),
                    false => format!("{space}{part}{space}"),
                })
                .collect();
            let joined = joined.join(",");
            if object { format!("{{{joined}}}") } else { format!("[{joined}]") }
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn only_the_named_values_change(before in noise(), between in noise(), after in noise()) {
        let bench = Bench::new();
        let handle = bench.handle("paymega");
        let (token, cvv_token) = bench.shop_card();
        let sale = |number: &str, cvv: &str| format!(
            "{{\"x\" : {before},\"data\":{{\"attributes\":{{\"cvv\":\"{cvv}\" ,\"y\":{between},\"card_number\" :\t\"{number}\"}} }},\"z\":{after}}}\n"
        );
        let (prepared, _) = bench.sale("paymega", &handle, &sale(&token, &cvv_token)).unwrap();
        let body = sent(prepared).body;
        prop_assert_eq!(String::from_utf8(body).unwrap(), sale(PAN, CVV));
    }
}
