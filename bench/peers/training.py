"""A training step of CLIP in PyTorch: forward, the contrastive loss, backward, gradient clipping, AdamW."""
import torch
import transformers


def open_step(folder, batch, precision, threads):
    torch.set_num_threads(threads)
    torch.manual_seed(1)
    model = transformers.CLIPModel.from_pretrained(folder, dtype=torch.float32).train()
    vision, text = model.config.vision_config, model.config.text_config
    pixels = torch.randn(batch, 3, vision.image_size, vision.image_size)
    ids = torch.randint(300, text.vocab_size - 3, (batch, text.max_position_embeddings))
    ids[:, -1] = text.eos_token_id if text.eos_token_id != 2 else text.vocab_size - 1
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=precision == "bf16")

    def step():
        torch.set_num_threads(threads)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16"):
            loss = model(input_ids=ids, pixel_values=pixels, return_loss=True).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        return loss.item()

    return step
