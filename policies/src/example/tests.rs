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
