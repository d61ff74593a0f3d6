"""MLflow's ``models`` names: signatures, what is known about a saved model, and the line that names a source file's model."""

from sparkml_lifecycle.flavors.python_model import set_model
from sparkml_lifecycle.models.signature import ModelSignature, Signature, infer_signature
from sparkml_lifecycle.saving import ModelInfo, get_model_info

__all__ = ["ModelInfo", "ModelSignature", "Signature", "get_model_info", "infer_signature", "set_model"]
