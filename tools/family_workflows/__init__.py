"""Text to image with published few-step files, a workflow per row of one table.

After changing the table: `python run.py tool family_workflows`, then `python run.py tool ui_format`. A test checks that
workflows/api/families/*.json are current.
"""

from .graphs import Row
from .rows import MODELS, ROWS, SHOWN, UPSTREAM
from .writing import FOLDER, text_of, workflow, write

__all__ = ["FOLDER", "MODELS", "ROWS", "SHOWN", "UPSTREAM", "Row", "text_of", "workflow", "write"]
