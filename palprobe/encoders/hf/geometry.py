"""Rates, sizes and exact lengths of each kind of encoder, from its configuration and its feature extractor.

S samples; valid tokens are those that hear some of the clip: what a model makes of the padding behind is dropped.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from palprobe.encoders.hf.family import Foreign, Geometry, Lengths

# Nothing bounds the input of most of these models, but attention grows with its square. All get Whisper's window, so
# that none of those compared hears more at once than another.
WINDOW_SECONDS = 30.0
# DAC is purely convolutional: beyond its receptive field a longer window changes nothing, and at 44.1 kHz every 10 s
# cost 110 MB in each of its first layers.
CODEC_WINDOW_SECONDS = 10.0
FRAMES_PER_SECOND = 100  # mel frames of 10 ms, in Kaldi's and in Whisper's front end
KALDI_FRAME = 25  # ms that a frame of Kaldi's filter bank covers
MOONSHINE_KERNELS, MOONSHINE_STRIDES = (127, 7, 3), (64, 3, 2)  # fixed in its code, not in its configuration


def ceil_div(number: int, by: int) -> int:
    return -(-number // by)


def conv_tokens(kernels: Sequence[int], strides: Sequence[int]) -> Lengths:
    """The length that a stack of unpadded convolutions leaves."""

    def count(num_samples: int) -> int:
        for kernel, stride in zip(kernels, strides, strict=True):
            num_samples = max((num_samples - kernel) // stride + 1, 0)
        return num_samples

    return count


def receptive_field(kernels: Sequence[int], strides: Sequence[int]) -> int:
    """Samples that one output of a stack of unpadded convolutions hears: the shortest input."""
    field, step = 1, 1
    for kernel, stride in zip(kernels, strides, strict=True):
        field += (kernel - 1) * step
        step *= stride
    return field


def wave_conv(config: Foreign, extractor: Foreign) -> Geometry:
    """wav2vec 2.0 and its relatives: a stack of convolutions on the waveform, then a transformer."""
    kernels, strides = tuple(config.conv_kernel), tuple(config.conv_stride)
    return Geometry(
        sample_rate=extractor.sampling_rate,
        frame_rate=extractor.sampling_rate / math.prod(strides),
        dim=config.hidden_size,
        depth=config.num_hidden_layers,
        min_samples=receptive_field(kernels, strides),
        max_seconds=WINDOW_SECONDS,
        num_tokens=conv_tokens(kernels, strides),
    )


def moonshine(config: Foreign, extractor: Foreign) -> Geometry:
    """The same with three convolutions."""
    return Geometry(
        sample_rate=extractor.sampling_rate,
        frame_rate=extractor.sampling_rate / math.prod(MOONSHINE_STRIDES),
        dim=config.hidden_size,
        depth=config.encoder_num_hidden_layers,
        min_samples=receptive_field(MOONSHINE_KERNELS, MOONSHINE_STRIDES),
        max_seconds=WINDOW_SECONDS,
        num_tokens=conv_tokens(MOONSHINE_KERNELS, MOONSHINE_STRIDES),
    )


def mel_window(config: Foreign, extractor: Foreign, *, pooled: int = 1) -> Geometry:
    """Whisper's encoder: a window of fixed length, two mel frames to a token, then `pooled` tokens averaged to one."""
    rate, hop = extractor.sampling_rate, extractor.hop_length
    token = 2 * hop * pooled

    def num_tokens(num_samples: int) -> int:
        return ceil_div(ceil_div(num_samples, hop), 2) // pooled

    return Geometry(
        sample_rate=rate,
        frame_rate=rate / token,
        dim=config.hidden_size,
        depth=config.encoder_layers,
        min_samples=token,
        max_seconds=config.max_source_positions * 2 * hop / rate,
        num_tokens=num_tokens,
    )


def pooled_mel_window(config: Foreign, extractor: Foreign) -> Geometry:
    """Whisper's encoder as Qwen2-Audio and Audio Flamingo 3 have it: 25 tokens per second."""
    return mel_window(config, extractor, pooled=2)


def stacked_fbank(config: Foreign, extractor: Foreign) -> Geometry:
    """w2v-BERT: Kaldi frames of 25 ms every 10 ms, `stride` of them to a token; a rest is no token."""
    rate, stride = extractor.sampling_rate, extractor.stride
    frame, hop = rate * KALDI_FRAME // 1000, rate // FRAMES_PER_SECOND

    def num_tokens(num_samples: int) -> int:
        return int(max((num_samples - frame) // hop + 1, 0) // stride)

    return Geometry(
        sample_rate=rate,
        frame_rate=FRAMES_PER_SECOND / stride,
        dim=config.hidden_size,
        depth=config.num_hidden_layers,
        min_samples=frame + (stride - 1) * hop,
        max_seconds=WINDOW_SECONDS,
        num_tokens=num_tokens,
    )


def subsampled_mels(config: Foreign, extractor: Foreign) -> Geometry:
    """Parakeet: log-mel frames, halved by each of a few padded convolutions of stride 2."""
    rate, hop, factor = extractor.sampling_rate, extractor.hop_length, config.subsampling_factor
    return Geometry(
        sample_rate=rate,
        frame_rate=rate / (hop * factor),
        dim=config.hidden_size,
        depth=config.num_hidden_layers,
        min_samples=hop * factor,  # mels are normalised over the clip, which takes more than one frame
        max_seconds=WINDOW_SECONDS,
        num_tokens=lambda num_samples: ceil_div(num_samples // hop, factor),
    )


def hop_geometry(rate: int, hop: int, *, dim: int, depth: int = 0, seconds: float = WINDOW_SECONDS) -> Geometry:
    """A token for each hop of the waveform, a last incomplete one included; windows are whole hops."""
    return Geometry(
        sample_rate=rate,
        frame_rate=rate / hop,
        dim=dim,
        depth=depth,
        min_samples=hop,
        max_seconds=round(seconds * rate) // hop * hop / rate,
        num_tokens=lambda num_samples: ceil_div(num_samples, hop),
    )


def encodec(config: Foreign, extractor: Foreign) -> Geometry:
    """The 48 kHz model was trained on chunks of 1 s, each normalised by its loudness: they are its windows."""
    hop = math.prod(config.upsampling_ratios)
    seconds = config.chunk_length_s or WINDOW_SECONDS
    return hop_geometry(extractor.sampling_rate, hop, dim=config.hidden_size, seconds=seconds)


def dac(config: Foreign, extractor: Foreign) -> Geometry:
    hop = math.prod(config.downsampling_ratios)
    return hop_geometry(extractor.sampling_rate, hop, dim=config.hidden_size, seconds=CODEC_WINDOW_SECONDS)


def mimi(config: Foreign, extractor: Foreign) -> Geometry:
    """What is quantised: behind the transformer (25 Hz) and the last convolution, which halves its rate."""
    hop = math.prod(config.upsampling_ratios) * config.latent_stride
    return hop_geometry(extractor.sampling_rate, hop, dim=config.latent_dim)


def pe_audio(config: Foreign, extractor: Foreign) -> Geometry:
    """A DAC without its quantiser, then a transformer at the same rate."""
    hop = math.prod(config.dac_config.downsampling_ratios)
    return hop_geometry(extractor.sampling_rate, hop, dim=config.hidden_size, depth=config.num_hidden_layers)


def ast_grid(config: Foreign) -> tuple[int, int]:
    """(bands, steps) of AST's overlapping patches."""
    bands = (config.num_mel_bins - config.patch_size) // config.frequency_stride + 1
    return bands, (config.max_length - config.patch_size) // config.time_stride + 1


def ast(config: Foreign, extractor: Foreign) -> Geometry:
    """AST: patches of 16 frames every 10, so that 1024 frames are 101 steps of 100 ms.

    The window is those 10.1 s. The last frames of 10.24 s would be heard by no patch, and windows of that length
    would lose their beat.
    """
    rate = extractor.sampling_rate
    frame, hop = rate * KALDI_FRAME // 1000, rate // FRAMES_PER_SECOND
    bands, steps = ast_grid(config)

    def num_tokens(num_samples: int) -> int:
        num_frames = max((num_samples - frame) // hop + 1, 0)
        return min(ceil_div(num_frames, config.time_stride), steps) * bands

    return Geometry(
        sample_rate=rate,
        frame_rate=FRAMES_PER_SECOND / config.time_stride,
        dim=config.hidden_size,
        depth=config.num_hidden_layers,
        min_samples=frame,
        max_seconds=steps * config.time_stride / FRAMES_PER_SECOND,
        num_tokens=num_tokens,
        bands=bands,
    )


def clap_grid(config: Foreign) -> tuple[int, int]:
    """(bands, steps) of what the last stage of CLAP's Swin transformer leaves of its square image."""
    stride = config.patch_stride[0] if isinstance(config.patch_stride, Sequence) else config.patch_stride
    side = config.spec_size // stride // 2 ** (len(config.depths) - 1)
    folds = config.spec_size // config.num_mel_bins  # stretches of time that stand above one another in the image
    return side // folds, side * folds


def clap(config: Foreign, extractor: Foreign) -> Geometry:
    """CLAP: 10 s, shorter clips repeated to fill them; 32 steps of two bands, of which the repeats' are dropped."""
    bands, steps = clap_grid(config)
    window = extractor.nb_max_samples
    return Geometry(
        sample_rate=extractor.sampling_rate,
        frame_rate=steps * extractor.sampling_rate / window,
        dim=config.patch_embeds_hidden_size * 2 ** (len(config.depths) - 1),
        depth=0,
        min_samples=extractor.hop_length,  # the front end repeats a clip, so that it need not fill a step
        max_seconds=window / extractor.sampling_rate,
        num_tokens=lambda num_samples: ceil_div(num_samples * steps, window) * bands,
        bands=bands,
    )
