"""How do other engines host a policy? One file for each engine. Not here: the decode loop of dsldec
(`runtime`).
"""
