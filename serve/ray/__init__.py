"""The service on a Ray cluster: ingress replicas answer, predictor actors work on the same queue."""
