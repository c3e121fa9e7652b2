"""The nodes, a file per theme. Importing them registers the tiny base's model class, the pack's asset folders and, only
where the user asked for it, our names in the stock KSampler's lists.
"""

from ..host import folders, routes, stock_lists, tiny_sd
from . import (
    check_workflow,
    compare,
    data,
    diversity,
    export_steps,
    extract,
    guidance,
    load,
    load_model,
    merge,
    merge_models,
    methods,
    methods_continuous,
    methods_matching,
    methods_on_images,
    methods_trajectory,
    reward_networks,
    rewards,
    runs,
    sample,
    schedule,
    schedule_plot,
    sheets,
    sweep,
    train,
    two_models,
    wrapper,
)

tiny_sd.register()
folders.register_assets()
stock_lists.register()
routes.register()

THEMES = (sample, schedule, guidance, two_models, diversity, load, load_model, check_workflow, merge, merge_models)
THEMES += (extract, sweep, sheets, data, train)
THEMES += (methods, methods_continuous, methods_matching, methods_trajectory, methods_on_images)
THEMES += (rewards, reward_networks, runs)
THEMES += (export_steps, compare, schedule_plot)
NODE_CLASS_MAPPINGS = {node.__name__: wrapper.wrapped(node) for theme in THEMES for node in theme.NODES}
NODE_DISPLAY_NAME_MAPPINGS = {name: node.TITLE for name, node in NODE_CLASS_MAPPINGS.items()}
