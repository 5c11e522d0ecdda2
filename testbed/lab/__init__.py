"""The lab: nodes, links and daemons in network namespaces."""
