"""ActFocus Studio: a visual debugger for token credit assignment, a Gradio app over runs of ``actfocus_core``."""
