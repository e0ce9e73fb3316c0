//! What a tool says of itself now, beside what it said when it was pinned.
//!
//! *In:* two descriptors. *Out:* each place that the digest covers and where they differ, with both values in canonical
//! form. Pure; it decides nothing.
//!
//! Objects are compared member by member, to any depth; of lists and other values the whole is shown.

use std::collections::BTreeMap;

use crate::descriptor::{DIGESTED_MEMBERS, RawTool, limits};
use crate::{Kind, ScanError, Value, canonical, scan};

/// A place where two descriptors differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Names of the members that lead there.
    pub place: Vec<String>,
    /// The value that was pinned, as canonical JSON; absent if there was none.
    pub pinned: Option<String>,
    /// The value that is listed now; absent if there is none.
    pub listed: Option<String>,
}

/// Where two descriptors differ, in the order of the members that the digest covers. Nothing, exactly if they have the
/// same digest.
///
/// # Errors
/// [`ScanError`], only for a descriptor that has no digest either.
pub fn differences(pinned: &RawTool, listed: &RawTool) -> Result<Vec<Difference>, ScanError> {
    let (was, is) = (
        scan(pinned.descriptor(), &limits())?,
        scan(listed.descriptor(), &limits())?,
    );
    let mut out = Vec::new();
    for name in DIGESTED_MEMBERS {
        let mut place = vec![name.to_owned()];
        compare(
            &mut place,
            (was.member(name).as_ref(), is.member(name).as_ref()),
            &mut out,
        )?;
    }
    Ok(out)
}

/// What a descriptor says, as if nothing had been pinned.
///
/// # Errors
/// As [`differences`].
pub fn everything(listed: &RawTool) -> Result<Vec<Difference>, ScanError> {
    let document = scan(listed.descriptor(), &limits())?;
    let mut out = Vec::new();
    for name in DIGESTED_MEMBERS {
        let mut place = vec![name.to_owned()];
        compare(&mut place, (None, document.member(name).as_ref()), &mut out)?;
    }
    Ok(out)
}

/// Recursion is bounded by the depth that a scan accepts.
fn compare(
    place: &mut Vec<String>,
    (was, is): (Option<&Value<'_>>, Option<&Value<'_>>),
    out: &mut Vec<Difference>,
) -> Result<(), ScanError> {
    let text = |value: Option<&Value<'_>>| {
        let bytes = value.map(|v| canonical(v.text.as_bytes(), &limits()));
        let bytes = bytes.transpose()?;
        Ok(bytes.map(|b| String::from_utf8_lossy(&b).into_owned()))
    };
    let (pinned, listed) = (text(was)?, text(is)?);
    if pinned == listed {
        return Ok(());
    }
    let (Some(was), Some(is)) = (was, is) else {
        out.push(Difference {
            place: place.clone(),
            pinned,
            listed,
        });
        return Ok(());
    };
    if (was.kind, is.kind) != (Kind::Object, Kind::Object) {
        out.push(Difference {
            place: place.clone(),
            pinned,
            listed,
        });
        return Ok(());
    }
    let (was, is) = (
        scan(was.text.as_bytes(), &limits())?,
        scan(is.text.as_bytes(), &limits())?,
    );
    let mut members: BTreeMap<&str, (Option<Value<'_>>, Option<Value<'_>>)> = BTreeMap::new();
    for (name, value) in was.members() {
        members.entry(name).or_default().0 = Some(value);
    }
    for (name, value) in is.members() {
        members.entry(name).or_default().1 = Some(value);
    }
    for (name, (was, is)) in members {
        place.push(name.to_owned());
        compare(place, (was.as_ref(), is.as_ref()), out)?;
        place.pop();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::descriptor::descriptor_digest;
    use bytes::Bytes;

    const TOOL: &str = r#"{"name":"t","description":"d","inputSchema":{"type":"object","properties":{"a":{"type":"string"},"b":{"maximum":1}},"required":["a"]}}"#;

    fn tool(text: &str) -> RawTool {
        RawTool::parse(Bytes::copy_from_slice(text.as_bytes())).unwrap()
    }

    fn changed(from: &str, to: &str) -> Vec<String> {
        let text = TOOL.replacen(from, to, 1);
        assert_ne!(text, TOOL);
        let shown = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        differences(&tool(TOOL), &tool(&text))
            .unwrap()
            .into_iter()
            .map(|d| {
                let (pinned, listed) = (shown(d.pinned), shown(d.listed));
                format!("{} {pinned} {listed}", d.place.join("/"))
            })
            .collect()
    }

    #[test]
    fn each_change_is_shown_where_it_is() {
        assert_eq!(changed("\"d\"", "\"e\""), ["description \"d\" \"e\""]);
        assert_eq!(
            changed("\"maximum\":1", "\"maximum\":1.0"),
            ["inputSchema/properties/b/maximum 1 1.0"]
        );
        assert_eq!(
            changed(",\"b\":{\"maximum\":1}", ",\"c\":true"),
            [
                "inputSchema/properties/b {\"maximum\":1} -",
                "inputSchema/properties/c - true"
            ]
        );
        assert_eq!(
            changed("[\"a\"]", "[ \"a\", \"b\" ]"),
            ["inputSchema/required [\"a\"] [\"a\",\"b\"]"]
        );
        assert_eq!(
            changed("\"name\"", "\"title\":\"T\",\"name\""),
            ["title - \"T\""]
        );
        assert_eq!(
            changed("{\"maximum\":1}", "null"),
            ["inputSchema/properties/b {\"maximum\":1} null"]
        );
    }

    #[test]
    fn there_is_a_difference_exactly_if_the_digests_differ() {
        // SplitMix64, so that the cases are the same everywhere.
        let mut state = 1u64;
        let mut below = |n: u64| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            ((z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 31) % n
        };
        let values = [
            "1",
            "1.0",
            "true",
            "{}",
            "{\"x\":1}",
            "[1]",
            "[1 ]",
            "\"1\"",
            "\"\\u0031\"",
            "null",
        ];
        let members = ["_meta", "annotations", "outputSchema", "title"];
        let mut differ = 0;
        for _ in 0..2000 {
            let mut descriptor = || {
                let mut text = "{\"name\":\"t\",\"inputSchema\":{}".to_owned();
                for member in members {
                    let value = values.get(usize::try_from(below(12)).unwrap());
                    if let Some(value) = value {
                        text.push_str(&format!(",\"{member}\":{value}"));
                    }
                }
                tool(&(text + "}"))
            };
            let (a, b) = (descriptor(), descriptor());
            let same = descriptor_digest(&a).unwrap() == descriptor_digest(&b).unwrap();
            assert_eq!(differences(&a, &b).unwrap().is_empty(), same, "{a:?} {b:?}");
            differ += u32::from(!same);
        }
        assert!((1000..2000).contains(&differ), "{differ}");
    }

    #[test]
    fn without_a_pinned_text_everything_is_shown() {
        let shown: Vec<String> = everything(&tool(TOOL))
            .unwrap()
            .into_iter()
            .map(|d| d.place.join("/"))
            .collect();
        assert_eq!(shown, ["description", "inputSchema", "name"]);
    }
}
