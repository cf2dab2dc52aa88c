"""Faults of the forward: samples, times, sizes and modes that are not kept apart."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn
from torch.nn import functional as F

from .case import become, fault
from .healthy import char_lm, text_classifier
from .healthy_images import SmallResNet, UNet, ViT, small_resnet, super_resolution, unet, vit
from .healthy_pairs import VAE, digit_graphs, vae
from .healthy_rows import WINDOW, CharLSTM, SpaceTagger, WineMLP, char_lstm, space_tagger, wine


@fault(
    vit,
    "shape_contract",
    site=("batch", "b ", "samples"),
    sees="it works in training, where the last batch is dropped, and raises at the first single image",
)
def class_token_expanded_to_one_batch_size(recipe):
    class FixedBatch(ViT):
        def forward(self, images):
            tokens = self.patches(images).flatten(2).transpose(1, 2)
            tokens = torch.cat([self.token.expand(64, -1, -1), tokens], dim=1)
            return self.head(self.norm(self.blocks(tokens + self.positions))[:, 0])

    become(recipe.model, FixedBatch)
    return recipe


@fault(
    super_resolution,
    "shape_contract",
    site=("batch", "b ", "samples", "channel"),
    sees="a single image comes back without its batch axis",
)
def restored_image_squeezed(recipe):
    upscale, features = recipe.model.upscale, recipe.model.features
    recipe.model.forward = lambda images: upscale(features(images)).squeeze()
    return recipe


@fault(
    space_tagger,
    "shape_contract",
    site=("t ", "length", str(WINDOW), "dim"),
    sees="it cannot tag a text that is longer or shorter than those of the training",
)
def length_written_into_the_tagger(recipe):
    class FixedLength(SpaceTagger):
        def forward(self, text):
            hidden, _ = self.gru(self.characters(text))
            hidden = hidden.reshape(-1, WINDOW, hidden.shape[-1])
            return self.head(hidden).transpose(1, 2)

    become(recipe.model, FixedLength)
    return recipe


@fault(
    vit,
    "batch_independence",
    site="blocks.0",
    sees="what the model says of an image depends on which others it is asked with",
)
def attention_without_batch_first(recipe):
    for block in recipe.model.blocks:
        block.attention.batch_first = False
    return recipe


@fault(
    char_lm,
    "batch_independence",
    site="blocks.0",
    sees="generated text changes with the number of prompts",
)
def attention_weights_normalised_over_the_batch(recipe):
    def mix(q, k, v):
        scores = q @ k.transpose(2, 3) / q.shape[-1] ** 0.5
        hidden = torch.ones_like(scores[0, 0]).triu(1).bool()
        return scores.masked_fill(hidden, -1e4).softmax(0).masked_fill(hidden, 0.0) @ v

    for block in recipe.model.blocks:
        block.mix = mix
    return recipe


@fault(
    wine,
    "batch_independence",
    site=("layers.0", "WineMLP", "input", "Standardised", "forward"),
    sees="a single bottle cannot be judged, and others change what is said of it",
)
def features_standardised_by_their_own_batch(recipe):
    class Standardised(WineMLP):
        def forward(self, features):
            spread = features.std(0, correction=0) + 1e-6
            return self.layers((features - features.mean(0)) / spread)

    become(recipe.model, Standardised)
    return recipe


@fault(
    unet,
    "batch_independence",
    site="down.1",
    sees="a mask depends on what else is segmented along with the image",
    finding="either",
)
def batch_norm_without_running_statistics(recipe):
    norm = recipe.model.down[1]
    norm.track_running_stats = False
    norm.running_mean = norm.running_var = norm.num_batches_tracked = None
    return recipe


@fault(
    digit_graphs,
    "batch_independence",
    site=("convolutions.0", "convolutions.1", "head", "forward"),
    sees="graphs are classified worse one by one than in a batch",
)
def graphs_pooled_over_the_whole_batch(recipe):
    model = recipe.model

    def forward(nodes, edges):
        present = edges.diagonal(dim1=1, dim2=2).unsqueeze(2)
        for convolution in model.convolutions:
            nodes = convolution(nodes, edges) * present
        mean = nodes.sum(1) / present.sum(1)
        peak = nodes.flatten(0, 1).amax(0).expand(len(mean), -1)
        return model.head(torch.cat([mean, peak], dim=1))

    model.forward = forward
    return recipe


@fault(
    char_lm,
    "causality",
    site="blocks.0",
    sees="the training loss is splendid and what is generated is noise",
)
def causal_mask_one_too_far(recipe):
    def mix(q, k, v):
        seen = torch.ones(q.shape[2], q.shape[2], device=q.device).tril(1).bool()
        return F.scaled_dot_product_attention(q, k, v, attn_mask=seen)

    for block in recipe.model.blocks:
        block.mix = mix
    return recipe


@fault(
    char_lm,
    "causality",
    site="blocks.0",
    sees="the loss falls to nearly nothing, generation fails",
)
def causal_mask_inverted(recipe):
    def mix(q, k, v):
        future = torch.ones(q.shape[2], q.shape[2], device=q.device).triu().bool()
        return F.scaled_dot_product_attention(q, k, v, attn_mask=future)

    for block in recipe.model.blocks:
        block.mix = mix
    return recipe


@fault(
    char_lstm,
    "causality",
    site="lstm",
    sees="a language model with a loss near zero that cannot write a word",
)
def language_model_reads_both_ways(recipe):
    recipe.model.lstm = nn.LSTM(32, 32, batch_first=True, bidirectional=True)
    optimizer = torch.optim.Adam(recipe.model.parameters(), lr=5e-3)
    return replace(recipe, optimizer=optimizer)


@fault(
    char_lstm,
    "causality",
    site=("CharLSTM", "Averaged", "lstm", "forward", "characters"),
    sees="it predicts better than the entropy of English allows",
)
def whole_window_averaged_into_each_character(recipe):
    class Averaged(CharLSTM):
        def forward(self, text):
            embedded = self.characters(text)
            hidden, _ = self.lstm(embedded + embedded.mean(1, keepdim=True))
            return self.head(hidden)

    become(recipe.model, Averaged)
    return recipe


@fault(
    char_lstm,
    "causality",
    site=("shift", "two", "+2", "after the next"),
    sees="the loss falls less than it should; generated text skips every other letter",
)
def targets_shifted_twice(recipe):
    loss = recipe.loss

    def shifted_again(logits, text):
        return loss(logits[:, :-1], text[:, 1:])

    return replace(recipe, loss=shifted_again)


@fault(
    text_classifier,
    "eval_is_deterministic",
    site=("layer", "head", "forward", "dropout"),
    sees="the same sentence is given another subject each time",
)
def functional_dropout_without_its_mode(recipe):
    words = recipe.model.words.forward
    recipe.model.words.forward = lambda ids: F.dropout(words(ids), 0.3)
    return recipe


@fault(
    unet,
    "eval_is_deterministic",
    site=("rand", "noise", "NoisyUNet", "forward"),
    sees="masks flicker between two calls",
)
def augmentation_noise_inside_the_model(recipe):
    class NoisyUNet(UNet):
        def forward(self, images):
            return super().forward(images + 0.1 * torch.randn_like(images))

    become(recipe.model, NoisyUNet)
    return recipe


@fault(
    space_tagger,
    "eval_is_deterministic",
    site="head.0",
    sees="tags change between two calls although eval() was called",
)
def dropout_stuck_in_train_mode(recipe):
    class Stuck(nn.Dropout):
        def train(self, mode=True):  # noqa: FBT002  nn.Module's own signature
            return super().train(mode=True)

    become(recipe.model.head[0], Stuck)
    return recipe


@fault(
    vae,
    "eval_is_deterministic",
    site=("rand", "VAE", "draw", "forward"),
    sees="reconstructions differ between two calls, which a VAE may want",
    finding="advice",
)
def code_drawn_in_eval_mode_too(recipe):
    class AlwaysDraws(VAE):
        def draw(self, mean, log_variance):
            return mean + (log_variance / 2).exp() * torch.randn_like(mean)

    become(recipe.model, AlwaysDraws)
    return recipe


@fault(
    small_resnet,
    "eval_is_deterministic",
    site=("blocks.0", "Stochastic", "rand"),
    sees="accuracy on the same validation set changes from call to call",
)
def blocks_dropped_in_eval_mode_too(recipe):
    class Stochastic(SmallResNet):
        def forward(self, images):
            features = self.stem(images)
            for block in self.blocks:
                keep = torch.rand(len(features), 1, 1, 1, device=features.device) > 0.1
                features = block(features)
                features = features * keep / 0.9
            return self.head(features.mean((2, 3)))

    become(recipe.model, Stochastic)
    return recipe
