"""A city that does not exist, drawn so that everything runs without downloads, and written in every layout.

    map -> survey -> scene (sky, facades, street) -> writer

Knows data's readers and no model. Positives are right by position alone: a street is photographed from one lane,
obliquely forwards, on one side only, and cameras keep away from crossings; so two images within 25 m of each other show
the same fronts (tests/toycity/test_map.py checks all pairs). Panoramas look all around, as those of
Pittsburgh and Tokyo: there, 25 m is the same street. Test and training cities share styles and colours, no house.
"""
