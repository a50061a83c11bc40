"""The pack as the host sees it."""


def test_every_node_has_a_help_worthy_schema(host):
    for node in host.module("nodes").NODES:
        schema = node.GET_SCHEMA()
        assert schema.node_id.startswith("OmniSync"), schema.node_id
        assert schema.category.startswith("OmniSync"), schema.node_id
        assert schema.display_name, schema.node_id
        assert schema.description, schema.node_id
        assert schema.search_aliases, schema.node_id
        assert host.node(schema.node_id) is node
        shown = 0
        for given in schema.inputs:
            assert given.tooltip, f"{schema.node_id}.{given.id}"
            kind = given.get_io_type()
            if kind in ("INT", "FLOAT"):
                assert None not in (given.min, given.max, given.default), f"{schema.node_id}.{given.id}"
            shown += kind in ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO") and not given.advanced
        assert shown <= 8, schema.node_id


def test_the_host_reads_the_project_s_settings(host):
    from comfy_config.config_parser import extract_node_configuration

    found = extract_node_configuration(host.pack)
    assert found.project.name == "omnisync"
    assert found.tool_comfy.display_name == "OmniSync"
    assert found.project.supported_comfyui_version == ">=0.33.0"
    assert "OS Independent" in found.project.supported_os
    assert found.project.supported_accelerators
