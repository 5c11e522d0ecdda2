-- Wireshark and tshark (4.0 and later) on Context Reflector: tshark -r F -X lua_script:testbed/context_reflector.lua
--
-- It stands in front of Wireshark's own dissector of the Mobility Header, lets that one do its work and adds what it
-- does not know: the context flag of PBU and PBA, Context Data options, Context Reflection and its kin, and the messages
-- of the Fast Handover Scheme (all MH type 11); of RFC 5949 the flags P and F of HI and HAck and the interface identifier.
-- Filters begin with `cr`. docs/protocol.md has the format; a domain with other code points sets them as preferences
-- (-o cr.mh_type:200).

local cr = Proto("cr", "Context Reflector")

cr.prefs.mh_type = Pref.uint("MH type", 11, "of Context Reflection")
cr.prefs.option = Pref.uint("Option type", 18, "of Context Data")
cr.prefs.update_flag = Pref.uint("Context flag of a PBU", 0x0008, "one of 16 bits")
cr.prefs.ack_flag = Pref.uint("Context flag of a PBA", 0x01, "one of 8 bits")

local PBU, PBA, HI, HACK = 5, 6, 14, 15
local CR, CR_ACK, CC = 1, 2, 7
local FAST_PBU, FAST_PBA, REVERSE_PBU, REVERSE_PBA = 3, 4, 5, 6
local SUBTYPES = {
    [CR] = "Context Reflection", [CR_ACK] = "Context Reflection Acknowledgement",
    [FAST_PBU] = "Fast PBU", [FAST_PBA] = "Fast PBA", [REVERSE_PBU] = "Reverse PBU", [REVERSE_PBA] = "Reverse PBA",
    [CC] = "Context Continuation",
}
local NMAG_ADDRESS, BINDING_STATE = 1, 3
local FEATURES = {
    [NMAG_ADDRESS] = "nMAG address", [2] = "policy profile", [BINDING_STATE] = "binding state", [4] = "AAA",
    [5] = "QoS", [6] = "ROHC", [7] = "accounting",
}
local PAD1, ALTERNATE_COA, MN_ID, HOME_NETWORK_PREFIX, HANDOFF_INDICATOR, ACCESS_TECHNOLOGY = 0, 3, 8, 22, 23, 24
local LINK_LAYER_ID, LINK_LOCAL, TIMESTAMP, INTERFACE_ID = 25, 26, 27, 42

local f = {
    context = ProtoField.bool("cr.context", "Context flag"),
    subtype = ProtoField.uint8("cr.subtype", "Subtype", base.DEC, SUBTYPES),
    acknowledge = ProtoField.bool("cr.acknowledge", "Acknowledge (A) flag", 8, nil, 0x80),
    status = ProtoField.uint8("cr.status", "Status"),
    flags = ProtoField.uint16("cr.flags", "Flags", base.HEX),
    seq = ProtoField.uint16("cr.seq", "Sequence number"),
    lifetime = ProtoField.float("cr.lifetime", "Lifetime (s)"),
    part = ProtoField.uint8("cr.part", "Part"),
    parts = ProtoField.uint8("cr.parts", "Parts"),
    mn_id = ProtoField.string("cr.mn_id", "Mobile Node Identifier"),
    hnp = ProtoField.ipv6("cr.hnp", "Home Network Prefix"),
    hnp_length = ProtoField.uint8("cr.hnp_length", "Prefix length"),
    ll_id = ProtoField.bytes("cr.ll_id", "Mobile Node Link-layer Identifier", base.COLON),
    handoff = ProtoField.uint8("cr.handoff", "Handoff Indicator"),
    access = ProtoField.uint8("cr.access", "Access Technology Type"),
    link_local = ProtoField.ipv6("cr.link_local", "Link-local Address"),
    timestamp = ProtoField.absolute_time("cr.timestamp", "Timestamp", base.UTC),
    pmag = ProtoField.ipv6("cr.pmag", "pMAG"),
    proxy = ProtoField.bool("cr.proxy", "Proxy (P) flag"),
    forwarding = ProtoField.bool("cr.forwarding", "Forwarding (F) flag"),
    interface_id = ProtoField.bytes("cr.interface_id", "MN link-local address interface identifier", base.COLON),
    option = ProtoField.none("cr.option", "Context Data"),
    length = ProtoField.uint8("cr.option.length", "Length"),
    feature = ProtoField.uint16("cr.feature", "Feature Profile Type", base.DEC),
    data = ProtoField.bytes("cr.data", "Data"),
    nmag = ProtoField.ipv6("cr.nmag", "nMAG"),
    state_seq = ProtoField.uint16("cr.state.seq", "Last sequence number"),
    state_lifetime = ProtoField.uint32("cr.state.lifetime", "Granted lifetime (s)"),
    state_timestamp = ProtoField.absolute_time("cr.state.timestamp", "Last timestamp", base.UTC),
    state_parts = ProtoField.uint8("cr.state.parts", "Parts"),
}
cr.fields = f

local e = {
    length = ProtoExpert.new("cr.expert.length", "Length does not fit", expert.group.MALFORMED, expert.severity.ERROR),
    subtype = ProtoExpert.new("cr.expert.subtype", "Unknown subtype", expert.group.UNDECODED, expert.severity.WARN),
}
cr.experts = e

local function feature_name(feature)
    if feature >= 0xff00 and feature <= 0xfffe then
        return "local use"
    end
    return FEATURES[feature] or "unassigned"
end

-- 48 bits of seconds and 16 of 1/65536 s since 1970 (RFC 5213 section 8.8).
local function timestamp(range)
    local seconds = range(0, 2):uint() * 2 ^ 32 + range(2, 4):uint()
    return NSTime.new(seconds, math.floor(range(6, 2):uint() * 1000000000 / 65536))
end

local readers = {
    [NMAG_ADDRESS] = function(tree, data)
        if data:len() == 16 then
            tree:add(f.nmag, data)
            return true
        end
    end,
    [BINDING_STATE] = function(tree, data)
        if data:len() == 14 then
            tree:add(f.state_seq, data(0, 2))
            tree:add(f.state_lifetime, data(2, 2), data(2, 2):uint() * 4)
            tree:add(f.state_timestamp, data(4, 8), timestamp(data(4, 8)))
            tree:add(f.state_parts, data(12, 1))
            return true
        end
    end,
}

-- `option` is the whole of it, type and length included.
local function context_data(tree, option)
    local item = tree:add(f.option, option)
    item:add(f.length, option(1, 1))
    if option:len() < 4 then
        item:add_proto_expert_info(e.length)
        return
    end
    local feature = option(2, 2):uint()
    item:add(f.feature, option(2, 2)):append_text(" (" .. feature_name(feature) .. ")")
    item:append_text(": " .. feature_name(feature) .. ", " .. option:len() - 4 .. " octets")
    if option:len() > 4 then
        local data = option(4)
        local reader = readers[feature]
        if not (reader and reader(item, data)) then
            item:add(f.data, data)
        end
    end
end

-- Wireshark's own dissector reads these in a PBU; in a message of MH type 11 it sees but octets.
local identity = {
    [MN_ID] = function(tree, option)
        if option:len() >= 4 then
            tree:add(f.mn_id, option(3))
        end
    end,
    [HOME_NETWORK_PREFIX] = function(tree, option)
        if option:len() == 20 then
            tree:add(f.hnp, option(4, 16)):append_text("/" .. option(3, 1):uint())
            tree:add(f.hnp_length, option(3, 1))
        end
    end,
    [LINK_LAYER_ID] = function(tree, option)
        if option:len() > 4 then
            tree:add(f.ll_id, option(4))
        end
    end,
    [HANDOFF_INDICATOR] = function(tree, option)
        if option:len() == 4 then
            tree:add(f.handoff, option(3, 1))
        end
    end,
    [ACCESS_TECHNOLOGY] = function(tree, option)
        if option:len() == 4 then
            tree:add(f.access, option(3, 1))
        end
    end,
    [LINK_LOCAL] = function(tree, option)
        if option:len() == 18 then
            tree:add(f.link_local, option(2))
        end
    end,
    [TIMESTAMP] = function(tree, option)
        if option:len() == 10 then
            tree:add(f.timestamp, option(2), timestamp(option(2)))
        end
    end,
}

-- Calls `found` with the type and the octets of each option from `start` on; false when the last one is cut off.
local function each_option(message, start, found)
    local stop = message:len()
    while start < stop do
        local kind = message(start, 1):uint()
        if kind == PAD1 then
            start = start + 1
        else
            if start + 2 > stop or start + 2 + message(start + 1, 1):uint() > stop then
                return false
            end
            local size = 2 + message(start + 1, 1):uint()
            found(kind, message(start, size))
            start = start + size
        end
    end
    return true
end

local function extension(message, pinfo, tree)
    local subtype = message(6, 1):uint()
    local name = SUBTYPES[subtype]
    tree:add(f.subtype, message(6, 1))
    pinfo.cols.info = name or "Experimental Mobility Header, subtype " .. subtype
    if not name then
        tree:add_proto_expert_info(e.subtype)
        return
    end
    tree:append_text(": " .. name)
    if message:len() < 16 then
        tree:add_proto_expert_info(e.length)
        return
    end
    if subtype == CR then
        tree:add(f.acknowledge, message(7, 1))
    elseif subtype == CR_ACK then
        tree:add(f.status, message(7, 1))
    end
    if subtype == FAST_PBU or subtype == REVERSE_PBU then
        tree:add(f.seq, message(8, 2))
        tree:add(f.flags, message(10, 2))
        tree:add(f.lifetime, message(12, 2), message(12, 2):uint() * 4)
    elseif subtype == FAST_PBA or subtype == REVERSE_PBA then
        tree:add(f.status, message(8, 1))
        tree:add(f.flags, message(9, 1))
        tree:add(f.seq, message(10, 2))
        tree:add(f.lifetime, message(12, 2), message(12, 2):uint() * 4)
    else
        tree:add(f.seq, message(8, 2))
        tree:add(f.lifetime, message(10, 2), message(10, 2):uint() / 10)
    end
    if subtype == CC then
        tree:add(f.part, message(12, 1))
        tree:add(f.parts, message(13, 1))
        pinfo.cols.info = string.format("%s %d of %d", name, message(12, 1):uint(), message(13, 1):uint())
    end
    local whole = each_option(message, 14, function(kind, option)
        if kind == cr.prefs.option and (subtype == CR or subtype == CC) then
            context_data(tree, option)
        elseif kind == ALTERNATE_COA and option:len() == 18 and (subtype == FAST_PBU or subtype == REVERSE_PBU) then
            tree:add(subtype == FAST_PBU and f.nmag or f.pmag, option(2))
        elseif identity[kind] then
            identity[kind](tree, option)
        end
    end)
    if not whole then
        tree:add_proto_expert_info(e.length)
    end
end

local function registration(message, pinfo, root, flags, bit_of_context)
    local flagged = bit.band(flags:uint(), bit_of_context) ~= 0
    local options = {}
    if message:len() > 12 then
        each_option(message, 12, function(kind, option)
            if kind == cr.prefs.option then
                options[#options + 1] = option
            end
        end)
    end
    if not flagged and #options == 0 then
        return
    end
    local tree = root:add(cr, message)
    tree:add(f.context, flags, flagged)
    for _, option in ipairs(options) do
        context_data(tree, option)
    end
    pinfo.cols.info:append(" [context]")
end

-- HI and HAck (RFC 5949 section 6): `proxy` and `forwarding` are the flags' bits.
local function handover(message, root, proxy, forwarding)
    local tree = root:add(cr, message)
    local flags = message(8, 1)
    tree:add(f.proxy, flags, bit.band(flags:uint(), proxy) ~= 0)
    tree:add(f.forwarding, flags, bit.band(flags:uint(), forwarding) ~= 0)
    each_option(message, 10, function(kind, option)
        if kind == INTERFACE_ID and option:len() == 12 then
            tree:add(f.interface_id, option(4, 8))
        elseif kind == cr.prefs.option then
            context_data(tree, option)
        end
    end)
end

local protocols = DissectorTable.get("ip.proto")
local mobility = protocols:get_dissector(135)

function cr.dissector(tvb, pinfo, root)
    -- What is malformed is told in the tree by the one called; ours is to be seen all the same.
    pcall(mobility.call, mobility, tvb, pinfo, root)
    if tvb:len() < 8 then
        return
    end
    -- `tvb` may be longer or, in a capture cut short, shorter than the message.
    local message = tvb(0, math.min(tvb:len(), 8 + 8 * tvb(1, 1):uint()))
    local kind = message(2, 1):uint()
    if kind == cr.prefs.mh_type then
        extension(message, pinfo, root:add(cr, message))
    elseif kind == PBU and message:len() >= 12 then
        registration(message, pinfo, root, message(8, 2), cr.prefs.update_flag)
    elseif kind == PBA and message:len() >= 12 then
        registration(message, pinfo, root, message(7, 1), cr.prefs.ack_flag)
    elseif kind == HI and message:len() >= 16 then
        handover(message, root, 0x20, 0x10)
    elseif kind == HACK and message:len() >= 16 then
        handover(message, root, 0x40, 0x20)
    end
end

protocols:add(135, cr)
