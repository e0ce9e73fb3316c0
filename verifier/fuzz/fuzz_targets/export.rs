//! Exports: no panic, the same items however the bytes arrive, and items that are written the same.
#![no_main]

use countersign_record::body::TenantProof;
use countersign_record::cbor::{Cbor, Writer};
use countersign_record::commitment::Disclosure;
use countersign_record::entry::Entry;
use countersign_record::export::{
    Artifact, ExportError, Frame, Framer, ItemKind, MAGIC, Manifest, Span, Timestamp, Trailer,
};
use libfuzzer_sys::fuzz_target;

fn read(bytes: &[u8], step: usize) -> (Vec<Frame>, Option<ExportError>) {
    let mut framer = Framer::new();
    let mut frames = Vec::new();
    for chunk in bytes.chunks(step) {
        framer.push(chunk);
        loop {
            match framer.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
    }
    (frames, framer.finish().err())
}

fuzz_target!(|input: &[u8]| {
    let Some((step, bytes)) = input.split_first() else {
        return;
    };
    let (frames, error) = read(bytes, usize::from(*step) + 1);
    let (whole, _) = read(bytes, bytes.len().max(1));
    assert_eq!(frames, whole);
    for frame in &frames {
        let content = frame.content.as_slice();
        match frame.kind {
            ItemKind::Manifest => drop(Manifest::from_bytes(content)),
            ItemKind::Artifact => drop(Artifact::from_bytes(content)),
            ItemKind::Entry => drop(Entry::parse(content)),
            ItemKind::Disclosures => drop(Vec::<Disclosure>::from_bytes(content)),
            ItemKind::Trailer => drop(Trailer::from_bytes(content)),
            ItemKind::Timestamp => drop(Timestamp::from_bytes(content)),
            ItemKind::Span => drop(Span::from_bytes(content)),
            ItemKind::TenantProof => drop(TenantProof::from_bytes(content)),
            ItemKind::Leaf | ItemKind::Checkpoint => {}
        }
    }
    if error.is_none() {
        let mut again = MAGIC.to_vec();
        for frame in &frames {
            let mut w = Writer::new();
            w.array(2);
            frame.kind.write(&mut w);
            w.bytes(&frame.content);
            again.extend(w.into_bytes());
        }
        assert_eq!(again, bytes);
    }
});
