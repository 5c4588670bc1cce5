"""The grid of cells: checked whole before anything long begins, run stage by stage, a finished cell never twice."""
