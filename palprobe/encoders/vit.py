"""Vision transformers on spectrogram patches: the parts that EAT and Dasheng share, and how their weights are read.

Shape legend: B batch, N tokens, D encoder size. The names of modules are those of the published state dicts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from palprobe.encoders.catalog import published, variants_of
from palprobe.encoders.checkpoints import read_checkpoint
from palprobe.encoders.options import check_options
from palprobe.encoders.weights import file_sha256, find_folder, weight_files, weights_sha256
from palprobe.errors import WeightsError
from palprobe.recipe import EncoderSection
from palprobe.specs import EncoderSpec

MLP_RATIO = 4.0
NORM_EPS = 1e-6
TOKEN_STD = 0.02  # of an untrained class token or position; Dosovitskiy et al. (2021), arXiv 2010.11929
WIDTH_KEY = "blocks.0.norm1.weight"  # (D,), in every state dict

M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class VitSize:
    """What tells the published sizes of one encoder apart, by its names in config.json."""

    embed_dim: int
    depth: int
    num_heads: int


class PatchEmbed(nn.Module):
    """Patches that do not overlap, each mapped to D numbers."""

    def __init__(self, dim: int, patch: tuple[int, int]) -> None:
        super().__init__()
        self.proj = nn.Conv2d(1, dim, kernel_size=patch, stride=patch)

    def forward(self, image: Tensor) -> Tensor:
        """(B, 1, height, width) → (B, D, rows, columns)."""
        output: Tensor = self.proj(image)
        return output


class Attention(nn.Module):
    """Multi-head self-attention over all tokens, without a mask."""

    def __init__(self, size: VitSize) -> None:
        super().__init__()
        self.num_heads = size.num_heads
        self.qkv = nn.Linear(size.embed_dim, 3 * size.embed_dim)
        self.proj = nn.Linear(size.embed_dim, size.embed_dim)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, D) → (B, N, D)."""
        heads = self.qkv(tokens).unflatten(-1, (3, self.num_heads, -1))  # (B, N, 3, heads, D / heads)
        query, key, value = heads.permute(2, 0, 3, 1, 4)  # (B, heads, N, D / heads) each
        mixed = F.scaled_dot_product_attention(query, key, value)
        output: Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return output


class Mlp(nn.Module):
    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        output: Tensor = self.fc2(F.gelu(self.fc1(tokens)))
        return output


class Block(nn.Module):
    """A transformer block: normalised before each part (Dasheng), or after each sum (EAT)."""

    def __init__(
        self, size: VitSize, *, norm_first: bool, mlp_ratio: float = MLP_RATIO, norm_eps: float = NORM_EPS
    ) -> None:
        super().__init__()
        self.norm_first = norm_first
        self.norm1 = nn.LayerNorm(size.embed_dim, eps=norm_eps)
        self.attn = Attention(size)
        self.norm2 = nn.LayerNorm(size.embed_dim, eps=norm_eps)
        self.mlp = Mlp(size.embed_dim, round(size.embed_dim * mlp_ratio))

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, D) → (B, N, D)."""
        if self.norm_first:
            tokens = tokens + self.attn(self.norm1(tokens))
            return tokens + self.mlp(self.norm2(tokens))  # type: ignore[no-any-return]  # a sum of tensors
        tokens = self.norm1(tokens + self.attn(tokens))
        output: Tensor = self.norm2(tokens + self.mlp(tokens))
        return output


def hidden_states(blocks: nn.ModuleList, tokens: Tensor, layers: Sequence[int]) -> dict[int, Tensor]:
    """(B, N, D) of each layer asked for: 0 is what enters the first block, i what leaves block i.

    Blocks after the last layer asked for are not run.
    """
    states = {0: tokens}
    for number, block in enumerate(blocks[: max(layers)], start=1):
        tokens = block(tokens)
        if number in layers:
            states[number] = tokens
    return states


def without_values(build: Callable[[], M]) -> M:
    """The module on the CPU with weights that hold anything: for `load_exactly`, which sets every one of them.

    Initial values would cost a large model seconds, and draw from the global generator.
    """
    with torch.device("meta"):
        module = build()
    return module.to_empty(device="cpu")


def locate(spec: EncoderSpec) -> Path | None:
    """The folder or `.pt` file that a spec names; None for an untrained encoder of published size.

    Raises:
        UsageError: the spec asks for what these encoders do not have.
        WeightsError: it is not there and cannot be had.
    """
    check_options(spec, variants=variants_of(spec.name), folder=True, weights=True)
    if spec.path is None and spec.untrained:
        return None
    path = Path(spec.path).expanduser() if spec.path is not None else None
    if path is not None and path.suffix == ".safetensors":
        raise WeightsError(f"{path} alone does not say its architecture. Give its folder, with config.json in it.")
    if path is not None and path.is_file():
        return path
    entry = published(spec)
    return find_folder(spec.path, hub_id=entry.hub_id, control=f"random:{entry.spec}")


def weights_identity(spec: EncoderSpec, section: EncoderSection, path: Path | None) -> dict[str, Any]:
    """What decides the weights: the bytes of their files, or the seed of an untrained encoder."""
    if spec.untrained or path is None:
        return {"untrained": True, "init_seed": section.init_seed}
    return {"untrained": False, "weights_sha256": weights_sha256(path) if path.is_dir() else [file_sha256(path)]}


def weights_origin(spec: EncoderSpec, path: Path | None) -> dict[str, str]:
    """Where the weights come from, for people."""
    if spec.untrained or path is None:
        return {"weights": "untrained"}
    if spec.path is not None:
        return {"weights": str(path)}
    return {"weights": published(spec).hub_id, "revision": path.name}  # a snapshot's folder is named by its commit


def size_named(spec: EncoderSpec, sizes: Collection[VitSize]) -> VitSize:
    """The size of the published weights that a spec names, by their width."""
    dim = published(spec).dim
    return next(size for size in sizes if size.embed_dim == dim)


def check_variant(spec: EncoderSpec, found: VitSize, sizes: Collection[VitSize], path: Path) -> None:
    """Raises WeightsError if the weights have another size than the variant that the spec names."""
    if spec.variant is not None and found != size_named(spec, sizes):
        raise WeightsError(f"{path} holds {found}, which is not {published(spec).spec}. Drop ':{spec.variant}'.")


def read_folder(folder: Path, prefix: str) -> dict[str, Tensor]:
    """The safetensors of a Hugging Face folder without the prefix of their keys.

    Raises:
        WeightsError: they are not there, are damaged, or have a key without the prefix.
    """
    state: dict[str, Tensor] = {}
    for file in weight_files(folder):
        state |= read_checkpoint(file)
    foreign = [key for key in sorted(state) if not key.startswith(prefix)]
    if foreign:
        shown = ", ".join(foreign[:5]) + (f" and {len(foreign) - 5} more" if len(foreign) > 5 else "")
        raise WeightsError(f"{folder} has weights whose names do not begin with {prefix!r}: {shown}.")
    return {key.removeprefix(prefix): value for key, value in state.items()}


def read_size(values: Mapping[str, Any], source: Path) -> VitSize:
    """The size that a configuration gives.

    Raises:
        WeightsError: a value that is missing or cannot be.
    """
    names = list(VitSize.__dataclass_fields__)
    wrong = [f"{name} {values.get(name, '(missing)')}" for name in names if not _is_count(values.get(name))]
    if wrong:
        raise WeightsError(f"{source} has {', '.join(wrong)}; expected whole numbers above 0.")
    size = VitSize(**{name: values[name] for name in names})
    if size.embed_dim % size.num_heads:
        raise WeightsError(f"{source}: embed_dim {size.embed_dim} is no multiple of num_heads {size.num_heads}.")
    return size


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def published_size(state: Mapping[str, Tensor], sizes: Collection[VitSize]) -> dict[str, int]:
    """The values of the published size that is as wide as the weights; none if no size is."""
    width = state[WIDTH_KEY].shape[0] if WIDTH_KEY in state else None
    return next((asdict(size) for size in sizes if size.embed_dim == width), {})


def check_values(found: Mapping[str, Any], expected: Mapping[str, Any], source: Path) -> None:
    """Raises WeightsError if a configuration gives another value than the one that is implemented."""
    for key, value in expected.items():
        if found.get(key, value) != value:
            raise WeightsError(f"{source}: {key} is {found[key]!r}; expected {value!r}.")
