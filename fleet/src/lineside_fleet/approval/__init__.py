"""A model that is approved in SageMaker's Model Registry becomes a signed component, and its rollout begins."""
