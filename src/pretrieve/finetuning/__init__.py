"""Fine-tuning on labels: objectives that start from a pre-trained retriever (floor 3)."""
