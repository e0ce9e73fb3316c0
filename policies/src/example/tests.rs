use super::*;

#[test]
fn every_registered_tool_has_a_descriptor() {
    let names: Vec<String> = descriptors().into_iter().map(|(name, _)| name).collect();
    assert_eq!(
        names,
        [
            "DESCRIPTOR_read_query",
            "DESCRIPTOR_write_query",
            "DESCRIPTOR_list_tables",
            "DESCRIPTOR_describe_table"
        ]
    );
}

#[test]
fn a_descriptor_digest_does_not_depend_on_the_order_of_keys() {
    let a: Json = serde_json::from_str(r#"{"a":1,"b":{"c":[1.0,"x"],"d":null}}"#).unwrap();
    let b: Json = serde_json::from_str(r#"{"b":{"d":null,"c":[1.0,"x"]},"a":1}"#).unwrap();
    let c: Json = serde_json::from_str(r#"{"b":{"d":null,"c":["x",1.0]},"a":1}"#).unwrap();
    assert_eq!(descriptor_digest(&a), descriptor_digest(&b));
    assert_ne!(descriptor_digest(&a), descriptor_digest(&c));
}
