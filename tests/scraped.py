# SPDX-License-Identifier: GPL-2.0-only
"""What `gretrace serve` answers in a namespace, as numbers."""

import http.client

from prometheus_client.parser import text_string_to_metric_families

from gretrace.host.namespaces import entered

PORT = 9947
PATIENCE = 120  # seconds; an emulated machine is slow


def scrape(host):
    """Return the page, from inside a host."""
    with entered(host.namespace):
        connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=PATIENCE)
        connection.connect()
    try:
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        text = answer.read().decode()
        assert answer.status == 200, text
    finally:
        connection.close()
    return text


def samples(text):
    """Return the value of each series of a page, by name and labels in the order of their names."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = tuple(value for _, value in sorted(sample.labels.items()))
            series = (sample.name, *labels)
            assert series not in found, series
            found[series] = sample.value
    return found
