//! From records back to JSON, as people read them.

use super::members::members;
use super::scan::quote_into;
use super::text::format_uuid;
use crate::catalog::Catalog;
use crate::record::{Form, RecordBatch, RecordHead, Span};
use crate::time::format_utc;

/// The fields of a record as a JSON object: every field that the sender gave, unknown ones included, and no other.
pub fn record_json(batch: &RecordBatch, head: &RecordHead, catalog: &Catalog) -> Vec<u8> {
    let mut out = vec![b'{'];
    let known = catalog.well_known();
    for span in batch.fields(head) {
        if span.field == known.extra {
            let object = &batch.arena[span.range()];
            for (name, range) in members(object).unwrap_or_default() {
                key_into(&name, &mut out);
                out.extend_from_slice(&object[range]);
            }
            continue;
        }
        let name = &catalog.field(span.field).name;
        if name.starts_with('$') {
            continue;
        }
        key_into(name.as_bytes(), &mut out);
        value_into(batch, span, catalog, &mut out);
    }
    out.push(b'}');
    out
}

fn key_into(name: &[u8], out: &mut Vec<u8>) {
    if out.len() > 1 {
        out.push(b',');
    }
    quote_into(name, out);
    out.push(b':');
}

fn value_into(batch: &RecordBatch, span: &Span, catalog: &Catalog, out: &mut Vec<u8>) {
    match span.form {
        Form::Text => quote_into(&batch.arena[span.range()], out),
        Form::Uuid => quote_into(&format_uuid(&batch.uuids[span.start as usize]), out),
        Form::Symbol => catalog.symbols().read(|names| quote_into(names.bytes(span.as_symbol()), out)),
        Form::Uint => out.extend_from_slice(span.as_wide().to_string().as_bytes()),
        Form::Int => out.extend_from_slice((span.as_wide() as i64).to_string().as_bytes()),
        Form::Time => quote_into(format_utc(span.as_wide() as i64).as_bytes(), out),
        Form::Json => out.extend_from_slice(&batch.arena[span.range()]),
        Form::Bytes => quote_into(String::from_utf8_lossy(&batch.arena[span.range()]).as_bytes(), out),
    }
}
