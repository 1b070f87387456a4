"""Draw street views of a city that does not exist, so that everything runs without downloads.

    map -> poses -> scene (sky, houses, ground, traffic) -> sensor -> write

Positives are right by position alone. A street is photographed from one lane, obliquely forwards, on one side only, and
cameras keep away from crossings; so two photos taken within 25 m of each other look at the same fronts
(tests/data/toycity/test_toycity_map.py checks all pairs). Panoramas look all around, as those of Pittsburgh and Tokyo:
there, 25 m is the same street. Test and training cities share styles and colours, no house.
"""
