//! A request in its final form cannot be edited, nor sent twice.

use portcullis::flow::Prepared;

fn edit(mut prepared: Prepared) {
    prepared.path_and_query.push('x');
}

fn twice(prepared: Prepared) {
    let _first = prepared.into_parts();
    let _second = prepared.into_parts();
}

fn main() {}
