"""What is computed over the predictions of one test set: a function and a line in `METRICS` each.

A kind of task names those that it is scored by (`tasks/kinds.py`); the order here is that of headlines.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from palprobe.registry import Part, Registry

METRICS = Registry(
    "metric",
    {
        "cider_d": Part(
            "palprobe.metrics.cider:cider_d", "CIDEr-D of captions, 0 to 10: n-grams in common, rare ones most"
        ),
        "map": Part("palprobe.metrics.ranking:mean_average_precision", "average precision of each class, averaged"),
        "d_prime": Part("palprobe.metrics.ranking:d_prime", "how far apart clips with a class and without it score"),
        "accuracy": Part("palprobe.metrics.answers:accuracy", "share of right answers"),
        "balanced_accuracy": Part("palprobe.metrics.answers:balanced_accuracy", "accuracy in each class, averaged"),
        "macro_f1": Part("palprobe.metrics.answers:macro_f1", "F1 of each class, averaged over the classes"),
        "embedding_accuracy": Part(
            "palprobe.metrics.modelled:embedding_accuracy",
            "share of texts whose nearest choice by an embedder is right",
        ),
        "wer": Part("palprobe.metrics.transcripts:wer", "word error rate, of transcripts; lower is better"),
        "cer": Part("palprobe.metrics.transcripts:cer", "character error rate, of transcripts; lower is better"),
        "bleu": Part("palprobe.metrics.texts:bleu", "BLEU of captions by sacrebleu, 0 to 1"),
        "chrf": Part("palprobe.metrics.texts:chrf", "chrF of captions by sacrebleu, 0 to 1"),
        "meteor": Part("palprobe.metrics.meteor:meteor", "METEOR 1.5 of captions, 0 to 1, by the jar in pycocoevalcap"),
        "sbert_similarity": Part(
            "palprobe.metrics.modelled:sbert_similarity", "cosine of a caption and its references by an embedder"
        ),
        "bertscore": Part("palprobe.metrics.modelled:bertscore", "F1 of BERTScore of captions by a local model"),
        "distinct_2": Part("palprobe.metrics.texts:distinct_2", "different pairs of words over all pairs in answers"),
        "mean_length": Part("palprobe.metrics.texts:mean_length", "words in an answer, on average"),
        "vocabulary": Part("palprobe.metrics.texts:vocabulary", "different words in all answers"),
        "bits_per_byte": Part(
            "palprobe.metrics.texts:bits_per_byte", "bits that the references cost, over their bytes; lower is better"
        ),
        "invalid_rate": Part("palprobe.metrics.answers:invalid_rate", "share of answers that are no choice"),
    },
)
LOWER_IS_BETTER = frozenset({"wer", "cer", "bits_per_byte", "invalid_rate"})

# Said beside every table of such scores.
NOTES: Mapping[str, str] = MappingProxyType(
    {
        "cider_d": "CIDEr-D weighs words by the references of the very items that a row is about: compare rows of the "
        "same items alone, and never a part with a whole.",
        "embedding_accuracy": "A text counts as the choice whose embedding is nearest, whatever it says: for papers "
        "that read answers so; accuracy reads them strictly.",
        "map": "Classes without a clip, or without a clip that lacks them, are left out of the mean.",
    }
)

# What captions are often scored by and palprobe does not compute: said in result.json and in reports, never a number.
NOT_COMPUTED: Mapping[str, str] = MappingProxyType(
    {
        "spice": "SPICE downloads a parser at its first call, and that needs Java 8",
        "fense": "its detector of errors, a network of its own, is not built in; sbert_similarity is its other half",
    }
)

# Not a word is said of these where nobody asked for them.
ON_REQUEST = frozenset({"embedding_accuracy"})
