"""The published weights that palprobe knows: where they are, how large, and under which licence; loads no torch."""

from __future__ import annotations

from dataclasses import dataclass

from palprobe.errors import UsageError
from palprobe.registry import near_miss
from palprobe.specs import EncoderSpec
from palprobe.types import Kind


@dataclass(frozen=True)
class Published:
    """One set of published weights."""

    encoder: str  # its registered name
    variant: str  # what follows the colon
    hub_id: str
    licence: str
    parameters: int  # of the encoder alone
    dim: int
    tokens_per_second: float
    kind: Kind
    file: str = "model.safetensors"
    verified: bool = False  # False: id and licence are from memory, to be checked on the model's card
    sha256: str | None = None  # of `file`, where it is known whole

    @property
    def spec(self) -> str:
        """How it is named on the command line."""
        return f"{self.encoder}:{self.variant}"

    @property
    def command(self) -> str:
        """The shell line that fetches it into the hub's cache."""
        return f"hf download {self.hub_id}" + (f" {self.file}" if self.file.endswith((".pt", ".pth")) else "")


MIT, APACHE, CARD = "MIT", "Apache-2.0", "see card"


def _known(encoder: str, variant: str, hub_id: str, licence: str, parameters: int, dim: int, rate: float) -> Published:
    """A general encoder in a folder of the hub, whose id and licence were read on its public pages."""
    return Published(encoder, variant, hub_id, licence, parameters, dim, rate, "general", verified=True)


def _pickled(
    encoder: str,
    variant: str,
    hub_id: str,
    licence: str,
    *,
    file: str = "epoch_latest.pt",
    parameters: int = 90_311_792,
    dim: int = 768,
    verified: bool = False,
    sha256: str | None = None,
) -> Published:
    """BEATs or OpenBEATs, in one file of torch.save."""
    return Published(
        encoder, variant, hub_id, licence, parameters, dim, 50.0, "general", file=file, verified=verified, sha256=sha256
    )


# The first line of an encoder is its default.
CATALOG: tuple[Published, ...] = (
    # --- BEATs, OpenBEATs ---
    _pickled(
        "beats",
        "iter3_plus_AS2M",
        "lpepino/beats_ckpts",
        MIT,
        file="BEATs_iter3_plus_AS2M.pt",
        verified=True,
        sha256="d43cbfad4d7b56381c061d7a24774f908d4d94c72961f6eb1d9090ff18cd8d34",
    ),
    *(
        _pickled("beats", variant, "Bencr/beats-checkpoints", MIT, file=f"BEATs_{variant}.pt")
        for variant in ("iter3", *(f"iter3_plus_AS2M_finetuned_on_AS2M_cpt{number}" for number in (1, 2)))
    ),
    *(_pickled("openbeats", f"base-i{number}", f"shikhar7ssu/OpenBEATs-Base-i{number}", CARD) for number in (3, 2, 1)),
    *(
        _pickled(
            "openbeats",
            f"large-i{number}",
            f"shikhar7ssu/OpenBEATs-Large-i{number}",
            CARD,
            parameters=311_376_576,
            dim=1024,
        )
        for number in (3, 2, 1)
    ),
    # --- EAT, SSLAM, Dasheng ---
    _known("eat", "base", "worstchan/EAT-base_epoch30_pretrain", MIT, 85_254_144, 768, 50.0),
    _known("eat", "base-finetuned", "worstchan/EAT-base_epoch30_finetune_AS2M", MIT, 85_254_144, 768, 50.0),
    _known("eat", "large", "worstchan/EAT-large_epoch20_pretrain", MIT, 302_575_616, 1024, 50.0),
    _known("eat", "large-finetuned", "worstchan/EAT-large_epoch20_finetune_AS2M", MIT, 302_575_616, 1024, 50.0),
    _known("sslam", "base", "ta012/SSLAM_pretrain", MIT, 85_254_144, 768, 50.0),
    _known("sslam", "base-finetuned", "ta012/SSLAM_AS2M_Finetuned", MIT, 85_254_144, 768, 50.0),
    _known("dasheng", "base", "mispeech/dasheng-base", APACHE, 85_447_808, 768, 25.0),
    _known("dasheng", "0.6B", "mispeech/dasheng-0.6B", APACHE, 630_333_568, 1280, 25.0),
    _known("dasheng", "1.2B", "mispeech/dasheng-1.2B", APACHE, 1_134_047_360, 1536, 25.0),
    # --- Hugging Face families ---
    Published("whisper", "small", "openai/whisper-small", APACHE, 88_154_112, 768, 50.0, "speech"),
    Published("whisper", "tiny", "openai/whisper-tiny", APACHE, 8_208_384, 384, 50.0, "speech"),
    Published("whisper", "base", "openai/whisper-base", APACHE, 20_590_592, 512, 50.0, "speech"),
    Published("whisper", "medium", "openai/whisper-medium", APACHE, 307_216_384, 1024, 50.0, "speech"),
    Published("whisper", "large", "openai/whisper-large", APACHE, 636_784_640, 1280, 50.0, "speech"),
    Published("whisper", "large-v2", "openai/whisper-large-v2", APACHE, 636_784_640, 1280, 50.0, "speech"),
    Published("whisper", "large-v3", "openai/whisper-large-v3", APACHE, 636_968_960, 1280, 50.0, "speech"),
    Published("whisper", "large-v3-turbo", "openai/whisper-large-v3-turbo", MIT, 636_968_960, 1280, 50.0, "speech"),
    Published("whisper", "tiny.en", "openai/whisper-tiny.en", APACHE, 8_208_384, 384, 50.0, "speech"),
    Published("whisper", "base.en", "openai/whisper-base.en", APACHE, 20_590_592, 512, 50.0, "speech"),
    Published("whisper", "small.en", "openai/whisper-small.en", APACHE, 88_154_112, 768, 50.0, "speech"),
    Published("whisper", "medium.en", "openai/whisper-medium.en", APACHE, 307_216_384, 1024, 50.0, "speech"),
    Published("wav2vec2", "base", "facebook/wav2vec2-base", APACHE, 94_371_712, 768, 50.0, "speech"),
    Published("wav2vec2", "base-960h", "facebook/wav2vec2-base-960h", APACHE, 94_371_712, 768, 50.0, "speech"),
    Published("wav2vec2", "large-lv60", "facebook/wav2vec2-large-lv60", APACHE, 315_438_720, 1024, 50.0, "speech"),
    Published("xls-r", "300m", "facebook/wav2vec2-xls-r-300m", APACHE, 315_438_720, 1024, 50.0, "speech"),
    Published("xls-r", "1b", "facebook/wav2vec2-xls-r-1b", APACHE, 962_497_408, 1280, 50.0, "speech"),
    Published("xls-r", "2b", "facebook/wav2vec2-xls-r-2b", APACHE, 2_159_259_648, 1920, 50.0, "speech"),
    Published("mms", "300m", "facebook/mms-300m", "CC-BY-NC-4.0", 315_438_720, 1024, 50.0, "speech"),
    Published("mms", "1b", "facebook/mms-1b", "CC-BY-NC-4.0", 962_497_408, 1280, 50.0, "speech"),
    Published("hubert", "base", "facebook/hubert-base-ls960", APACHE, 94_371_712, 768, 50.0, "speech"),
    Published("hubert", "large", "facebook/hubert-large-ll60k", APACHE, 315_438_720, 1024, 50.0, "speech"),
    Published("hubert", "xlarge", "facebook/hubert-xlarge-ll60k", APACHE, 962_497_408, 1280, 50.0, "speech"),
    Published("wavlm", "base-plus", "microsoft/wavlm-base-plus", "CC-BY-SA-3.0", 94_381_936, 768, 50.0, "speech"),
    Published("wavlm", "base", "microsoft/wavlm-base", "CC-BY-SA-3.0", 94_381_936, 768, 50.0, "speech"),
    Published("wavlm", "large", "microsoft/wavlm-large", "CC-BY-SA-3.0", 315_456_704, 1024, 50.0, "speech"),
    Published("data2vec", "base", "facebook/data2vec-audio-base", APACHE, 93_164_288, 768, 50.0, "speech"),
    Published("data2vec", "large", "facebook/data2vec-audio-large", APACHE, 313_276_416, 1024, 50.0, "speech"),
    Published("w2v-bert", "2.0", "facebook/w2v-bert-2.0", MIT, 580_493_120, 1024, 50.0, "speech"),
    Published("parakeet", "ctc-0.6b", "nvidia/parakeet-ctc-0.6b", "CC-BY-4.0", 607_749_120, 1024, 12.5, "speech"),
    Published("parakeet", "ctc-1.1b", "nvidia/parakeet-ctc-1.1b", "CC-BY-4.0", 1_061_489_664, 1024, 12.5, "speech"),
    Published("parakeet", "tdt-0.6b-v3", "nvidia/parakeet-tdt-0.6b-v3", "CC-BY-4.0", 608_879_616, 1024, 12.5, "speech"),
    Published("moonshine", "base", "UsefulSensors/moonshine-base", MIT, 20_153_120, 416, 41.67, "speech"),
    Published("moonshine", "tiny", "UsefulSensors/moonshine-tiny", MIT, 7_681_248, 288, 41.67, "speech"),
    Published(
        "ast", "audioset", "MIT/ast-finetuned-audioset-10-10-0.4593", "BSD-3-Clause", 86_187_264, 768, 120.0, "general"
    ),
    Published("clap", "htsat-unfused", "laion/clap-htsat-unfused", APACHE, 27_534_488, 768, 6.4, "general"),
    Published("clap", "htsat-fused", "laion/clap-htsat-fused", APACHE, 27_549_128, 768, 6.4, "general"),
    Published("clap", "larger-general", "laion/larger_clap_general", APACHE, 67_824_408, 1024, 6.4, "general"),
    Published("clap", "larger-music", "laion/larger_clap_music", APACHE, 67_824_408, 1024, 6.4, "general"),
    Published(
        "clap", "larger-music-speech", "laion/larger_clap_music_and_speech", APACHE, 67_824_408, 1024, 6.4, "general"
    ),
    Published("encodec", "24khz", "facebook/encodec_24khz", CARD, 7_425_792, 128, 75.0, "general"),
    Published("encodec", "32khz", "facebook/encodec_32khz", CARD, 28_792_064, 128, 50.0, "general"),
    Published("encodec", "48khz", "facebook/encodec_48khz", CARD, 7_428_336, 128, 150.0, "general"),
    Published("dac", "44khz", "descript/dac_44khz", MIT, 22_299_200, 1024, 86.13, "general"),
    Published("dac", "24khz", "descript/dac_24khz", MIT, 21_512_768, 1024, 75.0, "general"),
    Published("dac", "16khz", "descript/dac_16khz", MIT, 21_512_768, 1024, 50.0, "general"),
    Published("mimi", "24khz", "kyutai/mimi", "CC-BY-4.0", 38_867_232, 512, 12.5, "general"),
    Published("qwen2-audio", "7b", "Qwen/Qwen2-Audio-7B", APACHE, 636_968_960, 1280, 25.0, "general"),
    Published("qwen2-audio", "7b-instruct", "Qwen/Qwen2-Audio-7B-Instruct", APACHE, 636_968_960, 1280, 25.0, "general"),
    Published(
        "audio-flamingo-3", "hf", "nvidia/audio-flamingo-3-hf", "non-commercial", 636_968_960, 1280, 25.0, "general"
    ),
    Published("pe-audio", "base", "facebook/pe-a-frame-base", APACHE, 237_303_488, 1024, 25.0, "general"),
    Published("pe-audio", "small", "facebook/pe-a-frame-small", APACHE, 116_601_280, 768, 25.0, "general"),
    Published("pe-audio", "large", "facebook/pe-a-frame-large", APACHE, 1_132_438_976, 1792, 25.0, "general"),
)


def variants_of(encoder: str) -> tuple[str, ...]:
    """The variants of a registered encoder, its default first."""
    return tuple(entry.variant for entry in CATALOG if entry.encoder == encoder)


def published(spec: EncoderSpec) -> Published:
    """The weights that a spec names by its encoder and variant.

    Raises:
        UsageError: a variant that is not there.
    """
    known = {entry.variant: entry for entry in CATALOG if entry.encoder == spec.name}
    variant = spec.variant if spec.variant is not None else next(iter(known))
    if variant not in known:
        hint = near_miss(variant, known)
        raise UsageError(f"{spec.name} has no variant {variant!r}.{hint} Known: {', '.join(known)}.")
    return known[variant]
