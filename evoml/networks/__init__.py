"""Networks in torch: `module` runs any `Network`, `reference` is the same as a plain loop over
modules, `training` trains one, as `settings` say.

`shared_weights` is the one door to supernets, which have every candidate layer of a space on every
edge, all of them summed, weighted or one path at a time; `reference_supernet` is the same with one
module a candidate, as published. `batches` says which images a step sees, `optimisers` are those of
searches, `latency` is a table of what layers take. Nothing in this file imports torch.
"""
