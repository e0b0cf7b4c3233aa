"""Kafka as a source of events and as the log that intake writes: the one place that imports kafka-python."""
