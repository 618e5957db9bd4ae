//! A multipart body that is taken has parts in its bounds, and a value that is put in is read back
//! from its own part alone.

#![no_main]

use libfuzzer_sys::fuzz_target;
use portcullis::wire::{Edit, multipart, splice};

const BOUNDARY: &str = "b";
const VALUE: &[u8] = b"tok_live_1";

fuzz_target!(|input: &[u8]| {
    let Ok(document) = multipart::parse(input, BOUNDARY) else { return };
    let delimiter = format!("\r\n--{BOUNDARY}");
    for part in document.parts() {
        let content = &input[part.span().start..part.span().end];
        assert!(!content.windows(delimiter.len()).any(|window| window == delimiter.as_bytes()));
        assert_eq!(document.find(part.name()).map(|found| found.span()), Some(part.span()));
        let edit = Edit { span: part.span(), bytes: VALUE };
        let spliced = splice(input, &[edit]).unwrap();
        let again = multipart::parse(spliced.as_bytes(), BOUNDARY).unwrap();
        assert_eq!(document.parts().count(), again.parts().count());
        for (before, after) in document.parts().zip(again.parts()) {
            let expected = match before.span() == part.span() {
                true => VALUE,
                false => &input[before.span().start..before.span().end],
            };
            let seen = &spliced.as_bytes()[after.span().start..after.span().end];
            assert_eq!((before.name(), before.is_file()), (after.name(), after.is_file()));
            assert_eq!(seen, expected);
        }
    }
});
